"""A support set's moments of batch normalisation, as part of a learner's state."""

from collections.abc import Mapping
from typing import Any

MEAN, VARIANCE = "mean_of_", "variance_of_"


def moments_state(moments: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """A flat dict of the moments that a `moments_scope` saw.

    Args:
        moments: layer key -> (mean `[B, C]`, variance `[B, C]`).

    Returns:
        Dict of tensors, `[B, C]`, keys identifiers.
    """
    state = {}
    for layer, (mean, variance) in moments.items():
        state[f"{MEAN}{layer}"] = mean
        state[f"{VARIANCE}{layer}"] = variance
    return state


def moments_in(state: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The moments in a state, as `moments_scope(given=...)` takes them.

    Args:
        state: dict of tensors; what is not a moment is left out.

    Returns:
        Layer key -> (mean, variance).
    """
    layers = [key.removeprefix(MEAN) for key in state if key.startswith(MEAN)]
    return {layer: (state[f"{MEAN}{layer}"], state[f"{VARIANCE}{layer}"]) for layer in layers}
