"""The four-block convolutional network of few-shot learning."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone, check_blocks
from kfsl.layers.normalization import BatchNormalization

NORMALIZATIONS = {"exact": BatchNormalization, "stock": layers.BatchNormalization}


@keras.saving.register_keras_serializable(package="kfsl")
class Conv4(Backbone):
    """Conv-4: four blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max pooling.

    With 64 filters it is the network of Matching Networks, Prototypical Networks and MAML;
    `filters=(64, 64, 128, 128), use_bias=False, activate_last=False` is the C128F of Gidaris and
    Komodakis. Feature maps are not flattened or pooled: a learner does what its paper asks.

    Layers are named `block1_conv`, `block1_bn`, `block1_activation`, `block1_pool` and so on.

    Args:
        image_shape: tuple of three ints, height, width and channels. Height and width may be
            None: any size. Defaults to `(None, None, 3)`.
        filters: int, or tuple of four ints, one a block. Defaults to `64`.
        num_pools: int, 0 to 4. Only the first `num_pools` blocks pool. 84 pixels become 5 with
            four pools; 28 become 1 with four and 7 with two. Defaults to `4`.
        use_bias: bool. Whether the convolutions have biases. Defaults to True.
        activation: str or callable. Defaults to `"relu"`.
        activate_last: bool. Whether the last block has its activation. Defaults to True.
        bn_momentum: float. Momentum of the moving averages (Keras's sense). Defaults to `0.99`.
        bn_epsilon: float. Defaults to `1e-3`.
        bn_scale: bool. Whether batch normalisation learns a factor, `gamma`. Defaults to True.
        bn_center: bool. Whether it learns an offset, `beta`. Defaults to True.
        strides: int. Of the convolutions. `strides=2, num_pools=0` is MAML's network for
            Omniglot. Defaults to `1`.
        order: str. What follows a convolution, in which order: `"bn"`, `"activation"` and
            `"pool"`, joined by hyphens. CAVIA and Reptile have `"bn-pool-activation"`, Leap
            `"pool-bn-activation"`. Defaults to `"bn-activation-pool"`.
        kernel_initializer: str or `keras.Initializer`. Of the convolutions. PyTorch's is
            `VarianceScaling(1 / 3, "fan_in", "uniform")`. Defaults to `"glorot_uniform"`.
        pool_padding: str. `"valid"`, or `"same"`: sizes are rounded up. Defaults to `"valid"`.
        normalization: str. `"exact"`: `kfsl.layers.normalization.BatchNormalization`.
            `"stock"`: Keras's own layer, whose second derivatives TensorFlow gets wrong; it
            shows what they cost. A `moments_scope` does not act on it: moments are those of
            all images of the call, padding among them. Defaults to `"exact"`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, H, W, C]`. Output: float tensor `[n, h, w, filters]` where each pool
    halves height and width, rounded down, and each stride of 2 rounded up.

    Raises:
        ValueError: `filters` that are not one or four positive ints, `num_pools` outside 0-4,
            or an unknown `order`, `pool_padding` or `normalization`.

    Reference:
        [Vinyals et al., 2016](https://arxiv.org/abs/1606.04080), section 4.1;
        [Gidaris and Komodakis, 2018](https://arxiv.org/abs/1804.09458) for C128F;
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), section 5.2, for strides.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.conv4 import Conv4

    backbone = Conv4(image_shape=(28, 28, 1), num_pools=2)
    maps = backbone(np.zeros((5, 28, 28, 1), "float32"))
    assert maps.shape == (5, 7, 7, 64)
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int | None] = (None, None, 3),
        filters: int | Sequence[int] = 64,
        num_pools: int = 4,
        use_bias: bool = True,
        activation: Any = "relu",
        activate_last: bool = True,
        bn_momentum: float = 0.99,
        bn_epsilon: float = 1e-3,
        bn_scale: bool = True,
        bn_center: bool = True,
        strides: int = 1,
        order: str = "bn-activation-pool",
        kernel_initializer: Any = "glorot_uniform",
        pool_padding: str = "valid",
        normalization: str = "exact",
        **kwargs: Any,
    ) -> None:
        widths = check_blocks((filters,) * 4 if isinstance(filters, int) else filters, num_pools)
        _check_choices(order, pool_padding, normalization)
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers and functional model ===
        def after_convolution(part: str, block: int) -> layers.Layer | None:
            name = f"block{block}_{part}"
            if part == "bn":
                return NORMALIZATIONS[normalization](
                    momentum=bn_momentum,
                    epsilon=bn_epsilon,
                    center=bn_center,
                    scale=bn_scale,
                    dtype=dtype,
                    name=name,
                )
            if part == "activation" and (block < 4 or activate_last):
                return layers.Activation(activation, dtype=dtype, name=name)
            if part == "pool" and block <= num_pools:
                return layers.MaxPooling2D(2, padding=pool_padding, dtype=dtype, name=name)
            return None

        image_input = layers.Input(tuple(image_shape), name="images")
        x = image_input
        for block, width in enumerate(widths, start=1):
            x = layers.Conv2D(
                width,
                3,
                strides=strides,
                padding="same",
                use_bias=use_bias,
                kernel_initializer=_fresh(kernel_initializer),
                dtype=dtype,
                name=f"block{block}_conv",
            )(x)
            for part in order.split("-"):
                layer = after_convolution(part, block)
                x = x if layer is None else layer(x)
        super().__init__(image_input, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.filters = filters if isinstance(filters, int) else widths
        self.num_pools = num_pools
        self.use_bias = use_bias
        self.activation = keras.activations.get(activation)
        self.activate_last = activate_last
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon
        self.bn_scale = bn_scale
        self.bn_center = bn_center
        self.strides = strides
        self.order = order
        self.kernel_initializer = kernel_initializer
        self.pool_padding = pool_padding
        self.normalization = normalization

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_pools": self.num_pools,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "activate_last": self.activate_last,
            "bn_momentum": self.bn_momentum,
            "bn_epsilon": self.bn_epsilon,
            "bn_scale": self.bn_scale,
            "bn_center": self.bn_center,
            "strides": self.strides,
            "order": self.order,
            "kernel_initializer": _written(self.kernel_initializer),
            "pool_padding": self.pool_padding,
            "normalization": self.normalization,
        }


def _check_choices(order: str, pool_padding: str, normalization: str) -> None:
    orders = ["-".join(parts) for parts in itertools.permutations(("bn", "activation", "pool"))]
    choices = {
        "order": (order, orders),
        "pool_padding": (pool_padding, ["valid", "same"]),
        "normalization": (normalization, list(NORMALIZATIONS)),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; received {value!r}")


def _fresh(initializer: Any) -> Any:
    """An initialiser of a layer's own: one object gives all kernels of a shape the same values."""
    if isinstance(initializer, str):
        return initializer
    return keras.initializers.get(initializer).clone()


def _written(initializer: Any) -> Any:
    if isinstance(initializer, keras.initializers.Initializer):
        return keras.initializers.serialize(initializer)
    return initializer
