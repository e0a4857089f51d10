"""Wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone
from kfsl.layers.normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="kfsl")
class WideResNet(Backbone):
    """Wide residual network WRN-depth-width; WRN-28-10 by default, 36.5 M parameters.

    A 3x3 convolution with 16 filters, three stages of `(depth - 4) / 6` pre-activation blocks
    with `16 * width`, `32 * width` and `64 * width` filters, then batch normalisation and ReLU.
    The second and third stage halve height and width by stride: 84 pixels become 21, 32 become 8.
    No dropout, no pooling at the end. Memory grows with the maps: at 84x84 the first stage of
    WRN-28-10 holds 4.5 MB an image for each activation.

    Args:
        image_shape: tuple of three ints, height, width and channels. Height and width may be
            None: any size. Defaults to `(None, None, 3)`.
        depth: int, `6 k + 4`. Number of convolutions along the main path. Defaults to `28`.
        width: int. Factor of the filters. Defaults to `10`.
        bn_momentum: float. Momentum of the moving averages (Keras's sense). Defaults to `0.9`.
        bn_epsilon: float. Defaults to `1e-5`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, H, W, C]`. Output: float tensor `[n, H/4, W/4, 64 * width]`, rounded
    up.

    Raises:
        ValueError: A depth that is not `6 k + 4`, or a width below 1.

    Reference:
        [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146), Table 1.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.wide_resnet import WideResNet

    backbone = WideResNet(image_shape=(32, 32, 3), depth=10, width=1)
    assert backbone(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 8, 8, 64)
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int | None] = (None, None, 3),
        depth: int = 28,
        width: int = 10,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6 k + 4 (10, 16, 22, 28, ...); received depth={depth}")
        if width < 1:
            raise ValueError(f"width must be at least 1; received width={width}")
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers ===
        def convolution(x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
            return layers.Conv2D(
                filters,
                size,
                strides=stride,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                dtype=dtype,
                name=name,
            )(x)

        def normalize_relu(x: Any, name: str) -> Any:
            x = BatchNormalization(bn_momentum, bn_epsilon, dtype=dtype, name=f"{name}_bn")(x)
            return layers.ReLU(dtype=dtype, name=f"{name}_activation")(x)

        def residual_block(x: Any, filters: int, stride: int, name: str) -> Any:
            activated = normalize_relu(x, f"{name}_1")
            if x.shape[-1] != filters or stride != 1:
                # Where the shape changes the shortcut starts after the shared activation.
                x = convolution(activated, filters, 1, f"{name}_shortcut_conv", stride)
            y = convolution(activated, filters, 3, f"{name}_1_conv", stride)
            y = convolution(normalize_relu(y, f"{name}_2"), filters, 3, f"{name}_2_conv")
            return layers.Add(dtype=dtype, name=f"{name}_add")([x, y])

        # === Functional model ===
        images = layers.Input(tuple(image_shape), name="images")
        x = convolution(images, 16, 3, "stem_conv")
        for stage, stride in ((1, 1), (2, 2), (3, 2)):
            for block in range(1, (depth - 4) // 6 + 1):
                filters = 8 * 2**stage * width
                name = f"stage{stage}_block{block}"
                x = residual_block(x, filters, stride if block == 1 else 1, name)
        x = normalize_relu(x, "final")
        super().__init__(images, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.depth = depth
        self.width = width
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth": self.depth,
            "width": self.width,
            "bn_momentum": self.bn_momentum,
            "bn_epsilon": self.bn_epsilon,
        }
