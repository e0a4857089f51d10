"""The convolution that made a tensor of maps, as TensorFlow's graph knows it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import tensorflow as tf

_DTYPES = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class ConvolutionBefore:
    """A convolution `[n, H, W, I] -> [n, h, w, C]` with a bias or none, of static sizes but `n`.

    Args:
        images: tensor, `[n, H, W, I]`.
        kernel: tensor, `[y, x, I, C]`.
        bias: tensor, `[C]`, or None.
        strides: tuple of two ints.
        padding: str, `"SAME"` or `"VALID"`.
        size: tuple of two ints, height and width of the maps.
    """

    images: Any
    kernel: Any
    bias: Any
    strides: tuple[int, int]
    padding: str
    size: tuple[int, int]

    @property
    def patch_size(self) -> int:
        """Numbers of the images that an entry of the maps is made of."""
        rows, columns, channels, _ = self.kernel.shape
        return rows * columns * channels

    def patches(self, origin: Any) -> list[Any]:
        """What the entries of the maps are made of.

        Args:
            origin: tensor, `[I]`, which is taken from the images, and from zeros around them.

        Returns:
            List of tensors `[n, h, w, I]`, one for each place in the kernel, in its order.
        """
        places, (down, right) = self.kernel.shape[:2], self.strides
        around = [[0, 0], [0, 0], [0, 0], [0, 0]]
        if self.padding == "SAME":
            around[1:3] = map(same_padding, self.images.shape[1:3], self.size, self.strides, places)
        images = tf.pad(self.images, around) - origin
        height, width = (
            (maps - 1) * stride + 1 for maps, stride in zip(self.size, self.strides, strict=True)
        )
        return [
            images[:, y : y + height : down, x : x + width : right]
            for y, x in itertools.product(*map(range, places))
        ]


def same_padding(images: int, maps: int, stride: int, kernel: int) -> list[int]:
    """Zeros before and behind, as TensorFlow's `SAME` has them."""
    total = max((maps - 1) * stride + kernel - images, 0)
    return [total // 2, total - total // 2]


def convolution_before(maps: Any) -> ConvolutionBefore | None:
    """The convolution that maps come from, in a graph; None where they do not, and eagerly.

    Args:
        maps: tensor.

    Returns:
        `ConvolutionBefore`, or None: also for maps of half precision, groups, dilated kernels,
        and sizes that are not known.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.layers.convolution_before import convolution_before

    @tf.function
    def padding(images):
        maps = tf.nn.conv2d(images, tf.ones((3, 3, 1, 8)), 1, "SAME")
        return tf.constant(convolution_before(maps).padding)

    assert padding(tf.zeros((2, 5, 5, 1))) == "SAME"
    assert convolution_before(tf.zeros((2, 5, 5, 8))) is None
    ```
    """
    operation, bias = getattr(maps, "op", None), None  # Eager tensors have none.
    if operation is not None and operation.type in ("AddV2", "BiasAdd"):
        made, bias = operation.inputs
        operation = made.op
        channels = maps.shape[-1]
        if not bias.shape.num_elements() == bias.shape[-1] == made.shape[-1] == channels:
            return None  # Another sum.
        bias = tf.reshape(bias, (-1,))
    if operation is None or operation.type != "Conv2D" or maps.dtype.name not in _DTYPES:
        return None
    images, kernel = operation.inputs
    known = images.shape[1:].is_fully_defined() and kernel.shape.is_fully_defined()
    options = {key: operation.get_attr(key) for key in ("padding", "data_format", "strides")}
    padding, data_format = (options[key].decode() for key in ("padding", "data_format"))
    if (
        not known
        or data_format != "NHWC"
        or padding not in ("SAME", "VALID")
        or set(operation.get_attr("dilations")) != {1}
        or images.shape[-1] != kernel.shape[2]
    ):
        return None
    strides = tuple(options["strides"][1:3])
    return ConvolutionBefore(images, kernel, bias, strides, padding, tuple(maps.shape[1:3]))
