"""Group normalisation with exact second derivatives."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class GroupNormalization(keras.layers.Layer):
    """Group normalisation of channels-last maps, exact to every order of differentiation.

    Values and first derivatives are those of `keras.layers.GroupNormalization`; its second
    derivatives are wrong on TensorFlow (see `BatchNormalization` of this package for why). The
    channels of one image are normalised in `groups` groups of neighbours, so images do not
    influence each other. The moments are float32 under mixed precision.

    Args:
        groups: int. Number of groups, a divisor of the channels; -1 for one group a channel
            (instance normalisation). Defaults to `32`.
        epsilon: float. Added to the variance. Defaults to `1e-3`.
        center: bool. Whether to add a learned offset `beta`. Defaults to True.
        scale: bool. Whether to multiply by a learned `gamma`. Defaults to True.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: float tensor `[n, ..., C]`. Output: the same shape, in the compute dtype.

    Raises:
        ValueError: A number of groups that does not divide the channels.

    Reference:
        [Wu and He, 2018](https://arxiv.org/abs/1803.08494), equations 1, 2 and 7.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.group_normalization import GroupNormalization

    maps = np.random.normal(size=(4, 7, 7, 16)).astype("float32")
    normalised = GroupNormalization(groups=4)(maps)
    ```
    """

    def __init__(
        self,
        groups: int = 32,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if groups != -1 and groups < 1:
            raise ValueError(f"groups must be positive, or -1; received groups={groups}")
        if not epsilon > 0.0:
            raise ValueError(f"epsilon must be positive; received epsilon={epsilon}")
        self.groups = int(groups)
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if len(input_shape) < 2 or channels is None or channels % self.groups:
            raise ValueError(
                "GroupNormalization needs inputs [n, ..., C] with groups dividing C; "
                f"received groups={self.groups}, input_shape={input_shape}"
            )
        if self.scale:
            self.gamma = self.add_weight((channels,), "ones", name="gamma", autocast=False)
        if self.center:
            self.beta = self.add_weight((channels,), "zeros", name="beta", autocast=False)

    def call(self, inputs: Any) -> Any:
        shape = ops.shape(inputs)
        images, *spatial, channels = shape
        groups = channels if self.groups == -1 else self.groups
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        x = ops.reshape(x, (images, math.prod(spatial), groups, channels // groups))
        centred = x - ops.mean(x, axis=(1, 3), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 3), keepdims=True)
        outputs = ops.reshape(centred * ops.rsqrt(variance + self.epsilon), shape)
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
            "groups": self.groups,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }
