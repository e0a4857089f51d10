"""How far probabilities can be believed: expected calibration error and its kin."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kfsl.calibration.jackknife import jackknife_half
from kfsl.runs.measure import half_interval

#: Bins of confidence, as in the literature.
BINS = 15


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How confidence and accuracy agree over episodes, with 95 % intervals by episodes.

    Args:
        queries: int.
        ece: float. Expected calibration error, `BINS` bins of equal width: the mean gap between
            confidence, the probability of the predicted class, and accuracy, in 0..1.
        ece_interval: float. Half the width of its interval.
        adaptive_ece: float. The same over bins of as many queries each.
        nll: float. Mean of -log probability of the true class, in nats.
        nll_interval: float.
        brier: float. Mean squared distance of the probabilities from the truth, 0..2.
        brier_interval: float.
        bins: list of `[queries, mean confidence, accuracy]`, one for each bin of equal width;
            the last two are None where a bin is empty.

    Reference:
        [Guo et al., 2017](https://proceedings.mlr.press/v70/guo17a.html), equation 3; bins of as
        many queries each: [Nguyen & O'Connor, 2015](https://aclanthology.org/D15-1182).
    """

    queries: int
    ece: float
    ece_interval: float
    adaptive_ece: float
    nll: float
    nll_interval: float
    brier: float
    brier_interval: float
    bins: list[list]

    def summary(self) -> str:
        """One line for people."""
        return (
            f"expected calibration error {100 * self.ece:.2f} ± {100 * self.ece_interval:.2f} %, "
            f"NLL {self.nll:.4f} ± {self.nll_interval:.4f}, "
            f"Brier {self.brier:.4f} ± {self.brier_interval:.4f}"
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Reliability":
        return cls(**value)


def reliability(
    log_probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> Reliability:
    """Measures the probabilities of some episodes.

    Args:
        log_probabilities: sequence of float arrays, `[Q, ways]`, one for each episode.
        labels: sequence of int arrays, `[Q]`.

    Returns:
        `Reliability`.

    Raises:
        ValueError: for fewer than 2 episodes.

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.reliability import reliability

    # As sure as can be, and right in one of two.
    sure = [np.log([[0.9, 0.1], [0.9, 0.1]])] * 2
    found = reliability(sure, [np.array([0, 1])] * 2)
    assert abs(found.ece - 0.4) < 1e-12 and found.bins[13] == [4, 0.9, 0.5]
    ```
    """
    if len(labels) < 2:
        raise ValueError(f"An interval needs 2 episodes or more; received {len(labels)}.")
    told = [judged(rows, truth) for rows, truth in zip(log_probabilities, labels, strict=True)]
    return of_judged(told)


def judged(log_probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What of an episode counts: for each query its confidence and whether it was right.

    Args:
        log_probabilities: float array, `[Q, ways]`.
        labels: int array, `[Q]`.

    Returns:
        float64 array `[Q, 2]`, confidences and hits; float64 array `[2]`, mean NLL and Brier
        score.
    """
    probabilities = np.exp(log_probabilities)
    places = np.arange(len(labels))
    hits = probabilities.argmax(axis=1) == labels
    truth = np.zeros_like(probabilities)
    truth[places, labels] = 1.0
    nll = -np.mean(log_probabilities[places, labels])
    brier = np.mean(np.sum(np.square(probabilities - truth), axis=1))
    rows = np.stack([probabilities.max(axis=1), hits.astype("float64")], axis=1)
    return rows, np.array([nll, brier])


def of_judged(episodes: Sequence[tuple[np.ndarray, np.ndarray]]) -> Reliability:
    """`reliability` of what `judged` gave of each episode."""
    rows = [each for each, _ in episodes]
    nlls, briers = np.array([means for _, means in episodes]).T
    sums = binned(rows, np.linspace(0.0, 1.0, BINS + 1)[1:-1])
    confidences = np.sort(np.concatenate(rows)[:, 0])
    # Queries of one confidence share a bin, whatever its size.
    ends = np.maximum(np.arange(1, BINS) * len(confidences) // BINS, 1) - 1
    adaptive = binned(rows, np.unique(confidences[ends]))
    return Reliability(
        queries=len(confidences),
        ece=float(calibration_errors(sums.sum(axis=0)[None])[0]),
        ece_interval=jackknife_half(sums, calibration_errors),
        adaptive_ece=float(calibration_errors(adaptive.sum(axis=0)[None])[0]),
        nll=float(np.mean(nlls)),
        nll_interval=half_interval(nlls.tolist()),
        brier=float(np.mean(briers)),
        brier_interval=half_interval(briers.tolist()),
        bins=[_bin(*each) for each in sums.sum(axis=0).tolist()],
    )


def binned(episodes: Sequence[np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Sums over each bin of confidence, episode by episode.

    Args:
        episodes: sequence of float arrays, `[Q, 2]`, confidences and hits.
        edges: float array, `[bins - 1]`. Inner edges; a bin holds its upper one.

    Returns:
        float64 array, `[episodes, bins, 3]`: queries, confidences, hits.
    """
    sums = np.zeros((len(episodes), len(edges) + 1, 3))
    for place, rows in enumerate(episodes):
        bins = np.searchsorted(edges, rows[:, 0], side="left")
        np.add.at(sums[place], bins, np.insert(rows, 0, 1.0, axis=1))
    return sums


def calibration_errors(sums: np.ndarray) -> np.ndarray:
    """The mean gap between confidence and accuracy, of sums over bins.

    Args:
        sums: float array, `[n, bins, 3]`, as `binned` gives them.

    Returns:
        float array, `[n]`.
    """
    gaps = np.abs(sums[..., 1] - sums[..., 2]).sum(axis=-1)
    return gaps / sums[..., 0].sum(axis=-1)


def _bin(queries: float, confidence: float, hits: float) -> list:
    if not queries:
        return [0, None, None]
    return [int(queries), confidence / queries, hits / queries]
