"""Accuracy over episodes, with its confidence interval."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class EpisodeAccuracy(keras.metrics.Metric):
    """Mean accuracy over episodes and its 95 % interval.

    One episode is one observation: the interval is 1.96 * std / sqrt(episodes), with the
    sample standard deviation of the episodes' accuracies. Query images of one episode share
    its support set, so counting images instead would make the interval too narrow.

    Args:
        name: str.
        dtype: The metric's dtype.

    Returns:
        `result()` is a dict of two scalars in 0..1: `accuracy` and `accuracy_interval`.

    Example:
    ```python
    import numpy as np
    from kfsl.metrics.episode_accuracy import EpisodeAccuracy

    metric = EpisodeAccuracy()
    logits = np.array([[[2.0, 1.0], [0.0, 1.0]], [[2.0, 1.0], [1.0, 0.0]]])
    metric.update_state(np.array([[0, 1], [0, 1]]), logits)
    assert float(metric.result()["accuracy"]) == 0.75
    ```
    """

    def __init__(self, name: str = "episode_accuracy", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.episodes = self.add_variable(shape=(), initializer="zeros", name="episodes")
        self.mean = self.add_variable(shape=(), initializer="zeros", name="mean")
        self.squares = self.add_variable(shape=(), initializer="zeros", name="squares")

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Adds a meta-batch: labels `[B, Q]` and logits `[B, Q, ways]`."""
        predictions = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        hits = ops.cast(ops.equal(predictions, ops.cast(y_true, "int32")), self.dtype)
        accuracies = ops.mean(hits, axis=-1)
        # Chan's pairwise update: sums of squares would cancel near 100 % accuracy.
        count = ops.cast(ops.size(accuracies), self.dtype)
        mean = ops.mean(accuracies)
        total = self.episodes + count
        delta = mean - self.mean
        squares = ops.sum(ops.square(accuracies - mean))
        self.squares.assign_add(squares + ops.square(delta) * self.episodes * count / total)
        self.mean.assign_add(delta * count / total)
        self.episodes.assign(total)

    def result(self) -> dict:
        variance = self.squares / ops.maximum(self.episodes - 1.0, 1.0)
        interval = 1.96 * ops.sqrt(variance / ops.maximum(self.episodes, 1.0))
        # A sum, since a variable handed out would show later values to whoever reads it later.
        return {"accuracy": self.mean + 0.0, "accuracy_interval": interval}
