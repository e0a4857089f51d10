"""How well a score tells known queries from unknown ones, whatever the threshold."""

from collections.abc import Sequence

import numpy as np

from kfsl.calibration.jackknife import jackknife_half


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The probability that a known query scores higher than an unknown one; ties count half.

    Args:
        known: float array, `[n]`. Scores of queries of known classes.
        unknown: float array, `[m]`. Scores of the others.

    Returns:
        float in 0..1; 0.5 is chance.

    Raises:
        ValueError: if one of them is empty, or a score is no number.

    Reference:
        [Hanley & McNeil, 1982](https://doi.org/10.1148/radiology.143.1.7063747).

    Example:
    ```python
    from kfsl.calibration.ranking import auroc

    assert auroc([3.0, 2.0], [1.0, 2.0]) == 3.5 / 4
    ```
    """
    known, unknown = _checked(known), np.sort(_checked(unknown))
    return float(_wins(known, unknown).sum() / (len(known) * len(unknown)))


def pooled_auroc(known: Sequence[np.ndarray], unknown: Sequence[np.ndarray]) -> tuple[float, float]:
    """`auroc` of the queries of all episodes together, as one threshold for all meets them.

    Args:
        known: sequence of float arrays, one for each episode.
        unknown: sequence of float arrays, as many.

    Returns:
        The AUROC, and half of its 95 % interval: each episode is left out in turn, exactly.

    Raises:
        ValueError: as `auroc`, and for fewer than 2 episodes.

    Example:
    ```python
    from kfsl.calibration.ranking import auroc, pooled_auroc

    # Each episode alone is ranked without a mistake, both together are not.
    known, unknown = [[0.9], [0.4]], [[0.5], [0.1]]
    assert pooled_auroc(known, unknown)[0] == auroc([0.9, 0.4], [0.5, 0.1]) == 0.75
    ```
    """
    known, unknown = ([_checked(each) for each in scores] for scores in (known, unknown))
    all_known, all_unknown = np.sort(np.concatenate(known)), np.sort(np.concatenate(unknown))
    sums = []
    for ours, others in zip(known, unknown, strict=True):
        own = _wins(ours, np.sort(others)).sum()
        won = _wins(ours, all_unknown).sum()
        # Won by all known against these: all pairs but those that these win.
        against = len(all_known) * len(others) - _wins(others, all_known).sum()
        sums.append((won + against - own, len(ours), len(others)))
    wins, sizes = float(_wins(all_known, all_unknown).sum()), np.array(sums, "float64")
    total = np.array([len(all_known), len(all_unknown)], "float64")

    def without(left: np.ndarray) -> np.ndarray:
        """From what is left of the sizes: pairs of an episode with itself were counted once."""
        return (wins - sizes[:, 0]) / (left[:, 1] * left[:, 2])

    return wins / float(np.prod(total)), jackknife_half(sizes, without)


def _wins(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score, how many of the others, which are sorted, it exceeds; ties count half."""
    below = np.searchsorted(others, scores, side="left")
    return (below + np.searchsorted(others, scores, side="right")) / 2


def _checked(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, "float64")
    if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise ValueError(f"Scores must be numbers, at least one; received {scores.tolist()!r:.80}.")
    return scores
