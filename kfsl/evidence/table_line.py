"""One line of a table: the runs of a row, together."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kfsl.evidence.row import ResultsRow
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import Measure
from kfsl.runs.paired_difference import PairedDifference, differences, paired_difference


class TableLine:
    """The runs of one row, which differ in their seeds alone.

    Args:
        runs: sequence of `ResultsRow`.

    Raises:
        ValueError: if they were evaluated on different episodes.
    """

    def __init__(self, runs: Sequence[ResultsRow]) -> None:
        self.runs = sorted(runs, key=lambda run: run.metadata["seed"])
        self.first = self.runs[0]
        self.evaluation = self._together()

    def _together(self) -> Evaluation:
        """An episode's number is its mean over the runs: their episodes are the same."""
        first = self.first.evaluation
        for run in self.runs[1:]:
            apart = differences(first, run.evaluation)
            if apart or run.evaluation.episodes != first.episodes:
                raise ValueError(
                    f"{self.first.folder} and {run.folder} differ in "
                    f"{'; '.join(apart) or 'the number of episodes'}. Evaluate the runs of a row "
                    "alike."
                )
        means = np.mean([run.evaluation.values for run in self.runs], axis=0)
        return dataclasses.replace(first, values=means.tolist())

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def measure(self) -> Measure:
        """How its numbers are written."""
        return self.evaluation.measure

    @property
    def mean(self) -> float:
        """As it is written; accuracies in per cent."""
        return self.measure.scale * self.evaluation.mean

    @property
    def interval(self) -> float:
        """As it is written; accuracies in per cent."""
        return self.measure.scale * self.evaluation.interval

    @property
    def published(self) -> float | None:
        """The paper's number, as it is written."""
        return self.first.fields["paper"]

    @property
    def met(self) -> bool | None:
        """Whether ours and its interval reach the paper's number; None where it has none."""
        if self.published is None:
            return None
        if self.measure.larger_is_better:
            return self.mean + self.interval >= self.published
        return self.mean - self.interval <= self.published

    def beside(self, other: "TableLine") -> PairedDifference | None:
        """This one's minus the other's on the episodes of both; None if they are not the same."""
        if differences(self.evaluation, other.evaluation):
            return None
        return paired_difference(self.evaluation, other.evaluation)
