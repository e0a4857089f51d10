"""Mean squared error over episodes, with its confidence interval."""

from typing import Any

import keras
from keras import ops

from kfsl.metrics.episode_mean import EpisodeMean


@keras.saving.register_keras_serializable(package="kfsl")
class EpisodeError(EpisodeMean):
    """Mean squared error over episodes and its 95 % interval; see `EpisodeMean`.

    Args:
        name: str.
        dtype: The metric's dtype.

    Returns:
        `result()` is a dict of two scalars: `error` and `error_interval`.

    Example:
    ```python
    import numpy as np
    from kfsl.metrics.episode_error import EpisodeError

    metric = EpisodeError()
    targets, outputs = np.zeros((2, 3, 1)), np.stack([np.ones((3, 1)), np.full((3, 1), 2.0)])
    metric.update_state(targets, outputs)
    assert float(metric.result()["error"]) == 2.5
    ```
    """

    label = "error"

    def __init__(self, name: str = "episode_error", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        differences = ops.cast(y_pred, self.dtype) - ops.cast(y_true, self.dtype)
        return ops.mean(ops.square(differences), axis=(-2, -1))
