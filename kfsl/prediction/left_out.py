"""What leaving out each support image in turn finds."""

import dataclasses
import math

import numpy as np

from kfsl.prediction.support_report import wilson_interval


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What a model says of support images that it was not shown.

    Args:
        indices: int array, `[n]`. The support images that were left out, one at a time.
        probabilities: float array, `[n, ways]`.
        labels: int array, `[n]`. Their classes.
        logits: float array, `[n, ways]`.

    Example:
    ```python
    import numpy as np
    from kfsl.prediction.left_out import LeftOut

    told = np.array([[0.9, 0.1], [0.8, 0.2]])
    left_out = LeftOut(np.array([0, 3]), told, np.array([0, 1]), np.log(told))
    assert left_out.accuracy == 0.5 and left_out.mistaken.tolist() == [3]
    ```
    """

    indices: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """The likeliest class of each, `[n]`."""
        return self.probabilities.argmax(axis=-1)

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """Share of images that get their own class; not a number where none was tried."""
        return self.correct / len(self.indices) if len(self.indices) else math.nan

    @property
    def interval_95(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy; 0 to 1 where none was tried."""
        if not len(self.indices):
            return 0.0, 1.0
        return wilson_interval(self.correct, len(self.indices))

    @property
    def mistaken(self) -> np.ndarray:
        """The images that get another class than their own: `[m]`, of `indices`."""
        return self.indices[self.predictions != self.labels]
