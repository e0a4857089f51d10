"""The small, pre-activation ResNet-12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone, check_blocks
from kfsl.layers.normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="kfsl")
class PreActivationResNet12(Backbone):
    """Pre-activation ResNet-12 with leaky ReLU, 2.3 M parameters (2.6 M with a method's head).

    A 3x3 convolution, then four blocks: three times batch normalisation, leaky ReLU and 3x3
    convolution, added to a 1x1 convolution of the block's input, then 2x2 max pooling. 84 pixels
    become 5x5x256. The last block's maps are a sum that nothing has normalised, so a final batch
    normalisation and ReLU follow.

    Args:
        image_shape: tuple of three ints, height, width and channels. Height and width may be
            None: any size. Defaults to `(None, None, 3)`.
        filters: tuple of four ints, one a block. Defaults to `(64, 96, 128, 256)`.
        stem_filters: int. Filters of the first convolution. Defaults to `64`.
        num_pools: int, 0 to 4. Only the first `num_pools` blocks pool. Defaults to `4`.
        negative_slope: float. Slope of the leaky ReLU below zero. Defaults to `0.1`.
        final_bn: bool. Whether batch normalisation and ReLU close the network. Defaults to True.
        bn_momentum: float. Momentum of the moving averages (Keras's sense). Defaults to `0.99`.
        bn_epsilon: float. Defaults to `1e-3`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, H, W, C]`. Output: float tensor `[n, h, w, filters[3]]`.

    Raises:
        ValueError: `filters` that are not four positive ints, or `num_pools` outside 0-4.

    Reference:
        [Gidaris and Komodakis, 2018](https://arxiv.org/abs/1804.09458). STANet (Yan et al., 2019)
        reports a ResNet of this size and leaves its details to an unpublished supplement.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12

    backbone = PreActivationResNet12(image_shape=(32, 32, 3), filters=(4, 6, 8, 16))
    assert backbone(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 2, 2, 16)
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int | None] = (None, None, 3),
        filters: Sequence[int] = (64, 96, 128, 256),
        stem_filters: int = 64,
        num_pools: int = 4,
        negative_slope: float = 0.1,
        final_bn: bool = True,
        bn_momentum: float = 0.99,
        bn_epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        filters = check_blocks(filters, num_pools)
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers ===
        def convolution(x: Any, width: int, size: int, name: str, use_bias: bool) -> Any:
            return layers.Conv2D(
                width,
                size,
                padding="same",
                use_bias=use_bias,
                kernel_initializer="he_normal",
                dtype=dtype,
                name=name,
            )(x)

        def normalize(x: Any, name: str) -> Any:
            return BatchNormalization(bn_momentum, bn_epsilon, dtype=dtype, name=name)(x)

        # === Functional model ===
        images = layers.Input(tuple(image_shape), name="images")
        x = convolution(images, stem_filters, 3, "stem_conv", use_bias=True)
        for block, width in enumerate(filters, start=1):
            name = f"block{block}"
            shortcut = convolution(x, width, 1, f"{name}_shortcut_conv", use_bias=True)
            for i in (1, 2, 3):
                x = normalize(x, f"{name}_{i}_bn")
                x = layers.LeakyReLU(negative_slope, dtype=dtype, name=f"{name}_activation{i}")(x)
                x = convolution(x, width, 3, f"{name}_{i}_conv", use_bias=False)
            x = layers.Add(dtype=dtype, name=f"{name}_add")([x, shortcut])
            if block <= num_pools:
                x = layers.MaxPooling2D(2, dtype=dtype, name=f"{name}_pool")(x)
        if final_bn:
            x = normalize(x, "final_bn")
            x = layers.ReLU(dtype=dtype, name="final_activation")(x)
        super().__init__(images, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.filters = filters
        self.stem_filters = stem_filters
        self.num_pools = num_pools
        self.negative_slope = negative_slope
        self.final_bn = final_bn
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "stem_filters": self.stem_filters,
            "num_pools": self.num_pools,
            "negative_slope": self.negative_slope,
            "final_bn": self.final_bn,
            "bn_momentum": self.bn_momentum,
            "bn_epsilon": self.bn_epsilon,
        }
