"""Layer normalisation with exact second derivatives."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class LayerNormalization(keras.layers.Layer):
    """Layer normalisation over the last axis, exact to every order of differentiation.

    Values and first derivatives are those of `keras.layers.LayerNormalization`; its second
    derivatives are wrong on TensorFlow (see `BatchNormalization` of this package for why).
    The moments are float32 under mixed precision.

    Args:
        epsilon: float. Added to the variance. Defaults to `1e-3`.
        center: bool. Whether to add a learned offset `beta`. Defaults to True.
        scale: bool. Whether to multiply by a learned `gamma`. Defaults to True.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: float tensor `[..., C]`. Output: the same shape, in the compute dtype.

    Reference:
        [Ba et al., 2016](https://arxiv.org/abs/1607.06450), equations 3 and 4.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.layer_normalization import LayerNormalization

    normalised = LayerNormalization()(np.random.normal(size=(4, 16)).astype("float32"))
    ```
    """

    def __init__(
        self, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not epsilon > 0.0:
            raise ValueError(f"epsilon must be positive; received epsilon={epsilon}")
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] is None:
            raise ValueError(
                f"LayerNormalization needs a known last axis; received input_shape={input_shape}"
            )
        shape = (input_shape[-1],)
        if self.scale:
            self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
        if self.center:
            self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        outputs = centred * ops.rsqrt(variance + self.epsilon)
        if self.scale:
            outputs = outputs * ops.cast(self.gamma, x.dtype)
        if self.center:
            outputs = outputs + ops.cast(self.beta, x.dtype)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }
