"""What a threshold lets pass and what it stops, over open-set episodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kfsl.calibration.jackknife import jackknife_half

#: Numbers of a threshold: each is a ratio of two sums over an episode's queries.
RATES = ("known_accepted", "known_right", "accepted_accuracy", "unknown_rejected")


def rejection_rates(
    known: Sequence[np.ndarray],
    hits: Sequence[np.ndarray],
    unknown: Sequence[np.ndarray],
    threshold: float,
) -> dict[str, Any]:
    """Judges a threshold: queries that score below it are held for none of the classes.

    Args:
        known: sequence of float arrays, one for each episode: scores of queries of its classes.
        hits: sequence of bool arrays: whether their class was predicted.
        unknown: sequence of float arrays: scores of queries of other classes.
        threshold: float.

    Returns:
        dict of `[number, half of its 95 % interval]`, in 0..1, None where there is nothing to
        divide by: `known_accepted` of the known queries; `known_right`, accepted and given their
        class; `accepted_accuracy`, of those accepted; `unknown_rejected`.

    Raises:
        ValueError: for fewer than 2 episodes.

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.rejection_rates import rejection_rates

    found = rejection_rates(
        [np.array([0.9, 0.2])] * 2, [np.array([True, False])] * 2, [np.array([0.1, 0.8])] * 2, 0.5
    )
    assert found["known_accepted"] == [0.5, 0.0] and found["accepted_accuracy"] == [1.0, 0.0]
    assert found["unknown_rejected"] == [0.5, 0.0]
    ```
    """
    sums = []
    for ours, right, others in zip(known, hits, unknown, strict=True):
        accepted = np.asarray(ours) >= threshold
        passed, good = accepted.sum(), (accepted & right).sum()
        rejected = (np.asarray(others) < threshold).sum()
        counted = (passed, len(ours)), (good, len(ours)), (good, passed), (rejected, len(others))
        sums.append(counted)
    counts = np.array(sums, "float64")
    return {name: _ratio(counts[:, place]) for place, name in enumerate(RATES)}


def _ratio(sums: np.ndarray) -> list[float] | None:
    part, whole = sums.sum(axis=0)
    if not whole:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        half = jackknife_half(sums, lambda left: left[:, 0] / left[:, 1])
    return [float(part / whole), half if np.isfinite(half) else None]
