"""The mean over episodes of what each of them measures, with its confidence interval."""

from typing import Any

import keras
from keras import ops

from kfsl.distribution import replicas


class EpisodeMean(keras.metrics.Metric):
    """Mean over episodes and its 95 % interval.

    One episode is one observation: the interval is 1.96 * std / sqrt(episodes), with the
    sample standard deviation of the episodes' values. Queries of one episode share its support
    set, so counting queries instead would make the interval too narrow.

    Subclasses say what an episode's value is. Of several replicas each knows all values.

    Args:
        name: str.
        dtype: The metric's dtype.
    """

    #: Name of the result; that of its interval is `<label>_interval`.
    label: str = "value"

    def __init__(self, name: str, dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.episodes, self.mean, self.squares = (
            self.add_variable((), "zeros", self.dtype, "only_first_replica", each)
            for each in ("episodes", "mean", "squares")
        )

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The value of each episode, `[B]`."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a meta-batch: targets `[B, Q, ...]` and outputs `[B, Q, width]`."""
        values = replicas.gathered(self.values(y_true, y_pred))
        # Chan's pairwise update: sums of squares would cancel near 100 % accuracy.
        count = ops.cast(ops.size(values), self.dtype)
        mean = ops.mean(values)
        total = self.episodes + count
        delta = mean - self.mean
        squares = ops.sum(ops.square(values - mean))
        self.squares.assign_add(squares + ops.square(delta) * self.episodes * count / total)
        self.mean.assign_add(delta * count / total)
        self.episodes.assign(total)

    def result(self) -> dict[str, Any]:
        variance = self.squares / ops.maximum(self.episodes - 1.0, 1.0)
        interval = 1.96 * ops.sqrt(variance / ops.maximum(self.episodes, 1.0))
        # A sum, since a variable handed out would show later values to whoever reads it later.
        return {self.label: self.mean + 0.0, f"{self.label}_interval": interval}
