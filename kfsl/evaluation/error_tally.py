"""Counts how far a learner was off in each task of an evaluation."""

import numpy as np

from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_MASK, SUPPORT_TARGETS
from kfsl.evaluation.episode_tally import EpisodeTally
from kfsl.objectives.objective import Objective


class ErrorTally(EpisodeTally):
    """Adds up errors and sizes of tasks that are functions, meta-batch by meta-batch.

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

    def __init__(self, objective: Objective) -> None:
        super().__init__(("shots", "queries"))
        self._objective = objective

    def add(self, episode: dict[str, np.ndarray], targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a meta-batch.

        Args:
            episode: dict of arrays; `support_inputs`, `support_targets` and `query_inputs`, each
                `[B, ...]`, and `support_mask` if there is padding.
            targets: array, `[B, Q, width]`.
            outputs: array, `[B, Q, width]`.
        """
        masks = episode.get(SUPPORT_MASK)
        self._add_modes(episode, len(targets))
        for b, error in enumerate(self._objective.scores(targets, outputs)):
            mask = slice(None) if masks is None else masks[b]
            given = [episode[name][b][mask] for name in (SUPPORT_INPUTS, SUPPORT_TARGETS)]
            self._sizes["shots"].add(len(given[0]))
            self._sizes["queries"].add(len(targets[b]))
            self._count(float(error), (*given, episode[QUERY_INPUTS][b], targets[b]), "<f4")
