"""The wide ResNet-12 of TADAM and of dense classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone, check_blocks
from kfsl.layers.normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="kfsl")
class ResNet12(Backbone):
    """ResNet-12 with swish: four residual blocks of three 3x3 convolutions, 8.0 M parameters.

    Each convolution has batch normalisation and no bias; the first two of a block are followed
    by the activation, the third is added to a 1x1 shortcut, then activation and 2x2 max pooling.
    It pools after every block as the papers write (84 pixels become 5x5); TADAM's code pools
    after the first three only.

    Within block `b` the maps after the first and second activation are the outputs of the layers
    `block{b}_activation1` and `block{b}_activation2`.

    Args:
        image_shape: tuple of three ints, height, width and channels. Height and width may be
            None: any size. Defaults to `(None, None, 3)`.
        filters: tuple of four ints. Defaults to `(64, 128, 256, 512)`.
        num_pools: int, 0 to 4. Only the first `num_pools` blocks pool. Defaults to `4`.
        activation: str or callable. Defaults to `"swish"`.
        shortcut_bn: bool. Whether the shortcut is batch-normalised. Defaults to True.
        bn_momentum: float. Momentum of the moving averages (Keras's sense). Defaults to `0.95`.
        bn_epsilon: float. Defaults to `1e-3`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, H, W, C]`. Output: float tensor `[n, h, w, filters[3]]`.

    Raises:
        ValueError: `filters` that are not four positive ints, or `num_pools` outside 0-4.

    Reference:
        [Oreshkin et al., 2018](https://arxiv.org/abs/1805.10123) (TADAM);
        [Lifchitz et al., 2019](https://arxiv.org/abs/1903.05050), section 4.1.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.resnet12 import ResNet12

    backbone = ResNet12(image_shape=(32, 32, 3), filters=(4, 8, 8, 16))
    assert backbone(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 2, 2, 16)
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int | None] = (None, None, 3),
        filters: Sequence[int] = (64, 128, 256, 512),
        num_pools: int = 4,
        activation: Any = "swish",
        shortcut_bn: bool = True,
        bn_momentum: float = 0.95,
        bn_epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        filters = check_blocks(filters, num_pools)
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers ===
        def convolution(x: Any, width: int, size: int, suffix: str, normalize: bool = True) -> Any:
            x = layers.Conv2D(
                width,
                size,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                dtype=dtype,
                name=f"{suffix}_conv",
            )(x)
            if not normalize:
                return x
            return BatchNormalization(bn_momentum, bn_epsilon, dtype=dtype, name=f"{suffix}_bn")(x)

        def activate(x: Any, name: str) -> Any:
            return layers.Activation(activation, dtype=dtype, name=name)(x)

        # === Functional model ===
        images = layers.Input(tuple(image_shape), name="images")
        x = images
        for block, width in enumerate(filters, start=1):
            name = f"block{block}"
            shortcut = convolution(x, width, 1, f"{name}_shortcut", normalize=shortcut_bn)
            for i in (1, 2):
                x = activate(convolution(x, width, 3, f"{name}_{i}"), f"{name}_activation{i}")
            x = convolution(x, width, 3, f"{name}_3")
            x = layers.Add(dtype=dtype, name=f"{name}_add")([x, shortcut])
            x = activate(x, f"{name}_activation3")
            if block <= num_pools:
                x = layers.MaxPooling2D(2, dtype=dtype, name=f"{name}_pool")(x)
        super().__init__(images, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.filters = filters
        self.num_pools = num_pools
        self.activation = keras.activations.get(activation)
        self.shortcut_bn = shortcut_bn
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_pools": self.num_pools,
            "activation": keras.activations.serialize(self.activation),
            "shortcut_bn": self.shortcut_bn,
            "bn_momentum": self.bn_momentum,
            "bn_epsilon": self.bn_epsilon,
        }
