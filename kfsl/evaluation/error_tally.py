"""Counts how far a learner was off in each task of an evaluation."""

import hashlib

import numpy as np

from kfsl.episodes import MODE, QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_MASK, SUPPORT_TARGETS
from kfsl.evaluation.tally import KEPT_AFTER
from kfsl.objectives.objective import Objective


class ErrorTally:
    """Adds up errors and sizes of tasks that are functions, meta-batch by meta-batch.

    It has what `EvaluationTally` has, as far as a task without classes has it.

    Args:
        objective: `Objective`, which says what a task's number is.

    Example:
    ```python
    import numpy as np
    from kfsl.evaluation.error_tally import ErrorTally
    from kfsl.objectives import Regression
    from kfsl.objectives.regression_spec import RegressionSpec

    episode, targets = RegressionSpec(points=5, queries=3).random_episode()
    tally = ErrorTally(Regression(1))
    tally.add(episode, targets, outputs=targets + 2.0)
    assert abs(tally.values[0] - 4.0) < 1e-5 and tally.shots == 5 and tally.queries == 3
    ```
    """

    #: A task has no classes.
    ways = None

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        #: Of each task.
        self.values: list[float] = []
        self.modes: list[int] = []
        self.earlier_fingerprints: dict[str, str] = {}
        self._digest = hashlib.sha256()
        self._sizes: dict[str, set[int]] = {"shots": set(), "queries": set()}

    def add(self, episode: dict[str, np.ndarray], targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a meta-batch.

        Args:
            episode: dict of arrays; `support_inputs`, `support_targets` and `query_inputs`, each
                `[B, ...]`, and `support_mask` if there is padding.
            targets: array, `[B, Q, width]`.
            outputs: array, `[B, Q, width]`.
        """
        masks = episode.get(SUPPORT_MASK)
        self.modes += [int(mode) for mode in episode.get(MODE, ())][: len(targets)]
        errors = self._objective.scores(targets, outputs)
        for b, error in enumerate(errors):
            mask = slice(None) if masks is None else masks[b]
            given = [episode[name][b][mask] for name in (SUPPORT_INPUTS, SUPPORT_TARGETS)]
            for part in (*given, episode[QUERY_INPUTS][b], targets[b]):
                self._digest.update(np.ascontiguousarray(part, dtype="<f4").tobytes() + b"|")
            self._sizes["shots"].add(len(given[0]))
            self._sizes["queries"].add(len(targets[b]))
            self.values.append(float(error))
            if len(self.values) in KEPT_AFTER:
                self.earlier_fingerprints[str(len(self.values))] = self.fingerprint

    @property
    def shots(self) -> int | list[int]:
        """Given points."""
        return self._size("shots")

    @property
    def queries(self) -> int | list[int]:
        """Points that are asked."""
        return self._size("queries")

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the points and targets of all tasks so far."""
        return self._digest.hexdigest()

    def class_counts(self) -> dict[str, list[int]]:
        """Nothing: there are no classes."""
        return {}

    def confusions(self) -> list[list]:
        """Nothing: there are no classes."""
        return []

    def _size(self, name: str) -> int | list[int]:
        smallest, largest = min(self._sizes[name]), max(self._sizes[name])
        return smallest if smallest == largest else [smallest, largest]
