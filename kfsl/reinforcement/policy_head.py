"""What makes a policy of a backbone: a normal distribution for each observation."""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

#: Deviations do not fall below this, or a likelihood could grow without bound.
LEAST_DEVIATION = 1e-6


@keras.saving.register_keras_serializable(package="kfsl")
class DeviationColumns(keras.layers.Layer):
    """Adds to means the logarithms of deviations, which are weights and the same for all rows.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Input: float tensor `[n, A]`. Output: `[n, 2 * A]`.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.policy_head import DeviationColumns

    assert DeviationColumns()(np.ones((3, 2), "float32")).numpy().tolist() == [[1, 1, 0, 0]] * 3
    ```
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # Deviations begin at 1.
        self.log_deviation = self.add_weight((input_shape[-1],), "zeros", name="log_deviation")

    def call(self, inputs: Any) -> Any:
        log_deviation = ops.cast(self.log_deviation, inputs.dtype)
        least = ops.cast(math.log(LEAST_DEVIATION), inputs.dtype)
        columns = ops.broadcast_to(ops.maximum(log_deviation, least), ops.shape(inputs))
        return ops.concatenate([inputs, columns], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * input_shape[-1])


@dataclasses.dataclass(frozen=True)
class PolicyHead:
    """A dense layer, `head`, for the means of actions, and weights for their deviations.

    Args:
        actions: int. Numbers of an action.
        dtype: dtype policy of the layers.
        kernel_initializer: str or `keras.Initializer`. Of the dense layer.
    """

    actions: int
    dtype: Any
    kernel_initializer: Any = "glorot_uniform"

    def __call__(self, features: Any) -> Any:
        """Means and logarithms of deviations, Keras tensor `[n, 2 * actions]`."""
        means = keras.layers.Dense(
            self.actions,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype,
            name="head",
        )(features)
        return DeviationColumns(dtype=self.dtype, name="policy")(means)
