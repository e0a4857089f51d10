"""How validation went while a run trained."""

from __future__ import annotations

import dataclasses
import os

from kfsl.runs.files import read_json, write_json
from kfsl.runs.measure import measure_named, measures
from kfsl.runs.run_directory import RunDirectory

#: How many points a line of text shows.
POINTS = 6


@dataclasses.dataclass(frozen=True)
class ValidationCurve:
    """What was measured on the validation episodes after some numbers of updates.

    Args:
        steps: list of int. Updates.
        values: list of float; accuracies are in 0..1.
        metric: str. Name of a `kfsl.runs.measure.Measure`.

    Example:
    ```python
    from kfsl.evidence.validation_curve import ValidationCurve

    curve = ValidationCurve([100, 200, 300], [0.5, 0.75, 0.625])
    assert curve.summary() == "50.0 after 100 updates, 75.0 after 200 (best), 62.5 after 300"
    ```
    """

    steps: list[int]
    values: list[float]
    metric: str = "accuracy"

    @classmethod
    def of_run(cls, run: RunDirectory) -> ValidationCurve | None:
        """The curve of a run; None if it was never validated."""
        key = f"val_{run.validation_metric}"
        points = [(line["step"], round(line[key], 5)) for line in run.metrics() if key in line]
        if not points:
            return None
        steps, values = zip(*points, strict=True)
        return cls(list(steps), list(values), run.validation_metric)

    @classmethod
    def load(cls, path: str) -> ValidationCurve | None:
        """Reads what `save` wrote; None if there is no such file.

        Raises:
            ValueError: if it holds something else.
        """
        if not os.path.isfile(path):
            return None
        value = read_json(path, "collect the run again")
        try:
            (measure,) = (each for each in measures() if each.plural in value)
            return cls(value["updates"], value[measure.plural], measure.name)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is no validation curve: collect the run again.") from error

    def save(self, path: str) -> None:
        """Writes JSON."""
        plural = measure_named(self.metric).plural
        write_json(path, {"updates": self.steps, plural: self.values})

    def summary(self) -> str:
        """A few points, the best and the last among them; accuracies in per cent."""
        measure = measure_named(self.metric)
        last = len(self.steps) - 1
        sign = 1 if measure.larger_is_better else -1
        best = max(range(last + 1), key=lambda i: sign * self.values[i])
        digits = max(measure.digits - 1, 0)
        # Doubling from the first: curves rise early.
        shown = {best, last}
        index = last
        while index > 0 and len(shown) < POINTS:
            index //= 2
            shown.add(index)
        words = [
            f"{measure.scale * self.values[i]:.{digits}f} after {self.steps[i]:,}"
            + (" updates" if i == min(shown) else "")
            + (" (best)" if i == best else "")
            for i in sorted(shown)
        ]
        return ", ".join(words)
