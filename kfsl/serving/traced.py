"""A learner as it is served: its functions traced, and what they take in words."""

from collections.abc import Mapping
from typing import Any

import keras

from kfsl.learners.base.learner import Learner
from kfsl.runs.environment import environment, now
from kfsl.serving.about import about
from kfsl.serving.check import REFUSALS, serves_fewer_ways, smallest_size, takes_another_size
from kfsl.serving.files import FORMAT_VERSION
from kfsl.serving.saved_model import written_spec
from kfsl.serving.signatures import Shape, signatures_of


def traced(
    learner: Learner,
    shape: tuple[int, ...],
    any_size: bool | None = None,
    temperature: float = 1.0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The signatures of a learner, and their description.

    Args:
        learner: `Learner`, with its weights.
        shape: tuple of ints. Of one input; of images height, width and channels of the training.
        any_size: bool or None. Whether height and width stay free; None finds out.
        temperature: float. Divides the logits of a classifier.

    Returns:
        The signatures, see `signatures_of`, and what `model.json` says of them.

    Raises:
        ValueError: if the learner's state cannot be served, or not in any size.
    """
    served_shape, smallest, signatures = _signatures(learner, shape, any_size, temperature)
    return signatures, _description(learner, shape, served_shape, smallest, signatures)


def _signatures(
    learner: Learner, shape: tuple[int, ...], any_size: bool | None, temperature: float
) -> tuple[Shape, int | None, dict[str, Any]]:
    """The shape that is served, the smallest size where it is free, and the signatures."""
    if any_size or (any_size is None and takes_another_size(learner, shape)):
        free: Shape = (None, None, shape[-1])
        smallest = smallest_size(learner, shape)
        try:
            return free, smallest, signatures_of(learner, free, smallest, temperature)
        except REFUSALS:  # Of an unknown size it cannot be traced.
            if any_size:
                raise
    return shape, None, signatures_of(learner, shape, temperature=temperature)


def _description(
    learner: Learner,
    trained_shape: tuple[int, ...],
    served_shape: Shape,
    smallest: int | None,
    signatures: Mapping[str, Any],
) -> dict[str, Any]:
    state = signatures["adapt"].structured_outputs
    objective = learner.objective
    image = {
        "shape": list(served_shape),
        "trained_shape": list(trained_shape),
        "smallest_size": smallest,
        "dtype": "uint8",
        "pixel_range": [0, 255],
    }
    return {
        "format_version": FORMAT_VERSION,
        "learner": type(learner).__name__,
        "objective": type(objective).__name__,
        "bn_policy": learner.bn_policy,
        "transductive": learner.transductive,
        # Null where there are none.
        "image": image if objective.has_classes else None,
        "ways": {
            "fixed": learner.ways if objective.has_classes else None,
            "fewer": serves_fewer_ways(learner),
        },
        "inputs": {"shape": list(served_shape), "dtype": objective.input_dtype},
        "targets": {"shape": list(objective.target_shape), "dtype": objective.target_dtype},
        "base_classes": learner.kept_base_classes,
        "shots": {
            "minimum": learner.smallest_shots,
            "maximum": None,
            "may_differ_between_classes": True,
        },
        "steps": None
        if learner.default_steps is None
        else {"default": learner.default_steps, "free": learner.adapts_in_steps},
        "features": written_spec(signatures["embed"].structured_outputs["features"]),
        "state": {name: written_spec(tensor) for name, tensor in sorted(state.items())},
        "config": keras.saving.serialize_keras_object(learner),
        "about": about(learner),
        "versions": environment()["versions"],
        "exported": now(),
    }
