"""How validation went while a run trained."""

from __future__ import annotations

import dataclasses
import os

from kfsl.runs.files import read_json, write_json
from kfsl.runs.run_directory import RunDirectory

#: How many points a line of text shows.
POINTS = 6


@dataclasses.dataclass(frozen=True)
class ValidationCurve:
    """Accuracy on the validation episodes after some numbers of updates.

    Args:
        steps: list of int. Updates.
        accuracies: list of float, in 0..1.

    Example:
    ```python
    from kfsl.evidence.validation_curve import ValidationCurve

    curve = ValidationCurve([100, 200, 300], [0.5, 0.75, 0.625])
    assert curve.summary() == "50.0 after 100 updates, 75.0 after 200 (best), 62.5 after 300"
    ```
    """

    steps: list[int]
    accuracies: list[float]

    @classmethod
    def of_run(cls, run: RunDirectory) -> ValidationCurve | None:
        """The curve of a run; None if it was never validated."""
        points = [
            (line["step"], round(line["val_accuracy"], 5))
            for line in run.metrics()
            if "val_accuracy" in line
        ]
        if not points:
            return None
        steps, accuracies = zip(*points, strict=True)
        return cls(list(steps), list(accuracies))

    @classmethod
    def load(cls, path: str) -> ValidationCurve | None:
        """Reads what `save` wrote; None if there is no such file.

        Raises:
            ValueError: if it holds something else.
        """
        if not os.path.isfile(path):
            return None
        value = read_json(path)
        try:
            return cls(value["updates"], value["accuracies"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} is no validation curve: collect the run again.") from error

    def save(self, path: str) -> None:
        """Writes JSON."""
        write_json(path, {"updates": self.steps, "accuracies": self.accuracies})

    def summary(self) -> str:
        """A few points, the best and the last among them, in per cent."""
        last = len(self.steps) - 1
        best = max(range(last + 1), key=lambda i: self.accuracies[i])
        # Doubling from the first: curves rise early.
        shown = {best, last}
        index = last
        while index > 0 and len(shown) < POINTS:
            index //= 2
            shown.add(index)
        words = [
            f"{100 * self.accuracies[i]:.1f} after {self.steps[i]:,}"
            + (" updates" if i == min(shown) else "")
            + (" (best)" if i == best else "")
            for i in sorted(shown)
        ]
        return ", ".join(words)
