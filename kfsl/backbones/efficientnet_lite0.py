"""EfficientNet-Lite0, padded as TensorFlow pads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone
from kfsl.layers.normalization import BatchNormalization


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Args:
        blocks: int. The first of them strides, the others add their input.
        filters: int.
        kernel_size: int. Of the depthwise convolution.
        strides: int.
        expansion: int. How many times as many channels lie between a block's ends.
    """

    blocks: int
    filters: int
    kernel_size: int
    strides: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
    Stage(4, 192, 5, 2, 6),
    Stage(1, 320, 3, 1, 6),
)
STEM_FILTERS, TOP_FILTERS = 32, 1280


@keras.saving.register_keras_serializable(package="kfsl")
class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0: inverted residuals with ReLU6, without squeeze and excitation; 3.4 M.

    KerasHub has the network too, padded alike on both sides of an image; the published weights
    were trained with TensorFlow's `"same"`, which pads an even image on the far side alone. Here
    it is as they were trained, at every size. `kfsl.backbones.pretrained("efficientnet_lite0")`
    has the weights, and the preparation of pixels that they want.

    Layers are named `stem_conv`, `block1a_depthwise`, `block2a_expand`, `block7a_project`,
    `top_conv` and so on, with `_bn` and `_activation` behind; a block that adds its input ends
    with `_add`. In training no block is left out at random, as none is at test.

    Args:
        image_shape: tuple of three ints, height, width (either may be None) and channels.
            Defaults to `(None, None, 3)`.
        bn_momentum: float. Momentum of the moving averages (Keras's sense). Defaults to `0.99`.
        bn_epsilon: float. Defaults to `1e-3`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, H, W, C]`. Output: float tensor `[n, h, w, 1280]`, where `h` and `w`
    are a 32nd of height and width, rounded up.

    Reference:
        [Tan and Le, 2019](https://arxiv.org/abs/1905.11946), table 1; its Lite version, without
        squeeze and excitation and with ReLU6, is of the same authors.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.efficientnet_lite0 import EfficientNetLite0

    backbone = EfficientNetLite0(image_shape=(64, 64, 3))
    assert backbone(np.zeros((2, 64, 64, 3), "float32")).shape == (2, 2, 2, 1280)
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int | None] = (None, None, 3),
        bn_momentum: float = 0.99,
        bn_epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers and functional model ===
        def normalized(x: Any, name: str, activated: bool = True) -> Any:
            x = BatchNormalization(bn_momentum, bn_epsilon, dtype=dtype, name=f"{name}_bn")(x)
            if not activated:
                return x
            return layers.Activation("relu6", dtype=dtype, name=f"{name}_activation")(x)

        def convolution(filters: int, kernel_size: int, strides: int, name: str) -> layers.Layer:
            return layers.Conv2D(
                filters,
                kernel_size,
                strides=strides,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                dtype=dtype,
                name=name,
            )

        def block(x: Any, stage: Stage, strides: int, name: str) -> Any:
            before = x
            if stage.expansion > 1:
                wide = stage.expansion * x.shape[-1]
                x = convolution(wide, 1, 1, f"{name}_expand")(x)
                x = normalized(x, f"{name}_expand")
            x = layers.DepthwiseConv2D(
                stage.kernel_size,
                strides=strides,
                padding="same",
                use_bias=False,
                depthwise_initializer="he_normal",
                dtype=dtype,
                name=f"{name}_depthwise",
            )(x)
            x = normalized(x, f"{name}_depthwise")
            x = convolution(stage.filters, 1, 1, f"{name}_project")(x)
            x = normalized(x, f"{name}_project", activated=False)
            if strides == 1 and before.shape[-1] == stage.filters:
                x = layers.Add(dtype=dtype, name=f"{name}_add")([x, before])
            return x

        image_input = layers.Input(tuple(image_shape), name="images")
        x = normalized(convolution(STEM_FILTERS, 3, 2, "stem_conv")(image_input), "stem")
        for name, stage, strides in named_blocks():
            x = block(x, stage, strides, name)
        x = normalized(convolution(TOP_FILTERS, 1, 1, "top_conv")(x), "top")
        super().__init__(image_input, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "bn_momentum": self.bn_momentum,
            "bn_epsilon": self.bn_epsilon,
        }


def named_blocks() -> list[tuple[str, Stage, int]]:
    """Each block's name, its stage and its strides, in the order of the network."""
    return [
        (f"block{number}{chr(ord('a') + i)}", stage, stage.strides if i == 0 else 1)
        for number, stage in enumerate(STAGES, start=1)
        for i in range(stage.blocks)
    ]
