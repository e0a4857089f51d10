"""What an evaluation measures of an episode, and how such numbers are written."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number that each episode has, and how people read it.

    Args:
        name: str. As logs and records name it.
        plural: str. What a list of them is called in a record's JSON.
        scale: float. From the number to what is written.
        unit: str. What stands behind it.
        difference_unit: str. What stands behind a difference of two.
        digits: int. Digits after the point.
        larger_is_better: bool.
        measured: str. What has such a number: episodes, or tasks.

    Example:
    ```python
    from kfsl.runs.measure import measure_named

    assert measure_named("accuracy").text(0.9, 0.196) == "90.00 ± 19.60 %"
    assert measure_named("error").text(0.0345, 0.002) == "0.0345 ± 0.0020"
    ```
    """

    name: str
    plural: str
    scale: float = 1.0
    unit: str = ""
    difference_unit: str = ""
    digits: int = 4
    larger_is_better: bool = True
    measured: str = "episodes"

    def text(self, mean: float, half: float | None = None) -> str:
        """A mean, perhaps with half of its interval, and the unit."""
        return f"{self.number(mean, half)}{self.unit}"

    def number(self, mean: float, half: float | None = None, sign: bool = False) -> str:
        """A mean, perhaps with half of its interval, in the unit that is left out.

        Args:
            mean: float.
            half: float or None. Half the width of its interval.
            sign: bool. Whether a plus is written too.

        Returns:
            str.
        """
        plus = "+" if sign else ""
        written = f"{self.scale * mean:{plus}.{self.digits}f}"
        return written if half is None else f"{written} ± {self.scale * half:.{self.digits}f}"

    def difference_text(self, mean: float, half: float) -> str:
        """A difference, with its sign, half of its interval, and the unit."""
        return f"{self.number(mean, half, sign=True)}{self.difference_unit}"


ACCURACY = Measure("accuracy", "accuracies", 100.0, " %", " points", digits=2)
ERROR = Measure("error", "errors", larger_is_better=False)
RETURN = Measure("return", "returns", digits=2, measured="tasks")

_known = {measure.name: measure for measure in (ACCURACY, ERROR, RETURN)}


def measures() -> tuple[Measure, ...]:
    """Those of kfsl, and those of the objectives that were imported."""
    return tuple(_known.values())


def measure_named(name: str) -> Measure:
    """The measure that records and logs call so.

    Args:
        name: str.

    Returns:
        `Measure`.

    Raises:
        ValueError: if no objective that was imported measures it.
    """
    if name not in _known:
        raise ValueError(
            f"{name!r} is measured by no objective that is known (known: {', '.join(_known)}). "
            "Import the module whose objective measures it."
        )
    return _known[name]


def make_known(measure: Measure) -> None:
    """Lets records and logs name a measure.

    Args:
        measure: `Measure`.

    Raises:
        ValueError: if another one has its name.
    """
    known = _known.setdefault(measure.name, measure)
    if known != measure:
        raise ValueError(
            f"{measure.name!r} is measured already, otherwise: {known}; received {measure}. "
            "Name the new measure otherwise."
        )


def half_interval(values: Any) -> float:
    """Half of the 95 % interval of a mean.

    Args:
        values: sequence of float.

    Returns:
        float, 1.96 * std / sqrt(n), std being that of a sample; 0 for less than two values.
    """
    if len(values) < 2:
        return 0.0
    # Here: a command is told of mistakes before it is imported.
    import numpy as np

    return 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
