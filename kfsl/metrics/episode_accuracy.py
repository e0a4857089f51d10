"""Accuracy over episodes, with its confidence interval."""

from typing import Any

import keras
from keras import ops

from kfsl.metrics.episode_mean import EpisodeMean


@keras.saving.register_keras_serializable(package="kfsl")
class EpisodeAccuracy(EpisodeMean):
    """Mean accuracy over episodes and its 95 % interval; see `EpisodeMean`.

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

    label = "accuracy"

    def __init__(self, name: str = "episode_accuracy", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        predictions = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        hits = ops.cast(ops.equal(predictions, ops.cast(y_true, "int32")), self.dtype)
        return ops.mean(hits, axis=-1)
