"""Keeps what an evaluation's probabilities said of each query, known or not."""

from typing import Any

import numpy as np

from kfsl.calibration.ranking import auroc, pooled_auroc
from kfsl.calibration.rejection_rates import rejection_rates
from kfsl.calibration.reliability import judged, of_judged
from kfsl.calibration.scores import DEFAULT_SCORE, SCORES
from kfsl.calibration.softmax import log_probabilities
from kfsl.runs.measure import half_interval


class ProbabilityTally:
    """Adds up confidences and scores, meta-batch by meta-batch.

    Queries whose label is negative are of none of their episode's classes.

    Args:
        calibration: dict or None. Of the learner, as `Calibration.served` gives it.

    Example:
    ```python
    import numpy as np
    from kfsl.evaluation.probability_tally import ProbabilityTally

    tally = ProbabilityTally()
    logits = np.array([[[2.0, 0.0], [0.5, 0.4]]] * 2)
    tally.add(np.array([[0, -1]] * 2), np.array([[0, 2]] * 2), logits)
    assert tally.calibration()["raw"]["queries"] == 2
    assert tally.open_set()["auroc"]["max_logit"]["mean"] == 1.0
    ```
    """

    def __init__(self, calibration: dict[str, Any] | None = None) -> None:
        self._calibration = calibration
        self._temperature = 1.0 if calibration is None else calibration["temperature"]
        self._raw: list[tuple[np.ndarray, np.ndarray]] = []
        self._scaled: list[tuple[np.ndarray, np.ndarray]] = []
        self._known: dict[str, list[np.ndarray]] = {name: [] for name in SCORES}
        self._unknown: dict[str, list[np.ndarray]] = {name: [] for name in SCORES}
        self._unknown_classes: list[int] = []

    def add(self, labels: np.ndarray, classes: np.ndarray, logits: np.ndarray) -> None:
        """Adds a meta-batch.

        Args:
            labels: int array, `[B, Q]`.
            classes: int array, `[B, Q]`. Of which class of the split each query is.
            logits: float array, `[B, Q, ways]`.
        """
        for truth, names, rows in zip(labels, classes, logits, strict=True):
            known = truth >= 0
            self._raw.append(judged(log_probabilities(rows[known]), truth[known]))
            if self._calibration is not None:
                scaled = log_probabilities(rows[known], self._temperature)
                self._scaled.append(judged(scaled, truth[known]))
            if not known.all():
                self._add_scores(np.asarray(rows, "float64") / self._temperature, known, names)

    def _add_scores(self, rows: np.ndarray, known: np.ndarray, classes: np.ndarray) -> None:
        self._unknown_classes.append(len(np.unique(classes[~known])))
        for name, score in SCORES.items():
            scores = score(rows)
            self._known[name].append(scores[known])
            self._unknown[name].append(scores[~known])

    def calibration(self) -> dict[str, Any]:
        """`Reliability` of the probabilities as they are, and at the learner's temperature."""
        found = {"raw": of_judged(self._raw).to_json()}
        if self._calibration is not None:
            scaled = of_judged(self._scaled).to_json()
            found |= {"temperature": self._temperature, "scaled": scaled}
        return found

    def open_set(self) -> dict[str, Any]:
        """How queries of no class were told apart; empty where there were none."""
        if not self._unknown_classes:
            return {}
        fitted = (self._calibration or {}).get("rejection")
        score = fitted["score"] if fitted else DEFAULT_SCORE
        found = {
            "unknown_ways": max(self._unknown_classes),
            "unknown_queries": max(len(each) for each in self._unknown[score]),
            "score": score,
            "auroc": {name: self._auroc(name) for name in SCORES},
            "threshold": fitted["threshold"] if fitted else None,
            "rates": None,
        }
        return found | {"rates": self.rates(score, found["threshold"])}

    def rates(self, score: str, threshold: float | None) -> dict[str, Any] | None:
        """What a threshold lets pass and stops; None without one.

        Args:
            score: str. Key of `SCORES`.
            threshold: float or None.
        """
        if threshold is None:
            return None
        hits = [rows[:, 1] > 0 for rows, _ in self._raw]
        return rejection_rates(self._known[score], hits, self._unknown[score], threshold)

    def known_scores(self, score: str) -> np.ndarray:
        """The scores of all queries of known classes, `[n]`."""
        return np.concatenate(self._known[score])

    def _auroc(self, name: str) -> dict[str, Any]:
        known, unknown = self._known[name], self._unknown[name]
        each = [auroc(*pair) for pair in zip(known, unknown, strict=True)]
        return {
            "mean": float(np.mean(each)),
            "interval": half_interval(each),
            "pooled": list(pooled_auroc(known, unknown)),
        }
