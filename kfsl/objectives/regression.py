"""Numbers for each query."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kfsl.argument_checks import check_whole
from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS
from kfsl.metrics.episode_error import EpisodeError
from kfsl.objectives.objective import Objective
from kfsl.objectives.regression_spec import RegressionSpec
from kfsl.runs.measure import ERROR


@keras.saving.register_keras_serializable(package="kfsl")
class Regression(Objective):
    """Mean squared error, over the columns of an answer and over answers.

    Args:
        width: int. Numbers of an answer.

    Raises:
        ValueError: for a width below 1.

    Example:
    ```python
    import numpy as np
    from kfsl.objectives import Regression

    objective = Regression(width=2)
    targets, outputs = np.zeros((1, 3, 2), "float32"), np.ones((1, 3, 2), "float32")
    assert float(objective.loss(targets, outputs)) == 1.0
    ```
    """

    support_inputs = SUPPORT_INPUTS
    support_targets = SUPPORT_TARGETS
    query_inputs = QUERY_INPUTS
    output = answer = "predictions"
    embedded = "inputs"
    input_dtype = target_dtype = "float32"
    has_classes = False
    measure = ERROR

    def __init__(self, width: int = 1) -> None:
        check_whole("`width`", width, 1)
        self._width = width

    @property
    def width(self) -> int:
        return self._width

    @property
    def target_shape(self) -> tuple[int, ...]:
        return (self.width,)

    def random_episode(
        self,
        input_shape: Sequence[int],
        *,
        ways: int | None = None,
        shots: int = 1,
        queries: int = 2,
        seed: int = 0,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        del ways
        return RegressionSpec(shots, queries, tuple(input_shape), self.width).random_episode(seed)

    def check_targets(self, targets: Any) -> None:
        dtype = keras.backend.standardize_dtype(targets.dtype)
        if len(targets.shape) != 3 or targets.shape[-1] != self.width or "float" not in dtype:
            raise ValueError(
                f"Targets must be numbers, {self.width} for each input: float32 [B, n, "
                f"{self.width}]; received {dtype} of shape {tuple(targets.shape)}."
            )

    def losses(self, targets: Any, outputs: Any) -> Any:
        return ops.mean(ops.square(outputs - ops.cast(targets, outputs.dtype)), axis=-1)

    def metric(self, dtype: str | None = None) -> keras.metrics.Metric:
        return EpisodeError(dtype=dtype)

    def scores(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return np.mean(np.square(outputs.astype("float64") - targets), axis=(-2, -1))

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width}
