"""A convolution of few pixel values and the normalisation behind it, in one product."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kfsl.layers.convolution_before import ConvolutionBefore

#: Numbers of a patch from which on their products cost more than they save.
MOST_INPUTS = 32


def pays(convolution: ConvolutionBefore) -> bool:
    """Whether patches are so much smaller than maps that `normalized_convolution` is faster."""
    return convolution.patch_size <= min(MOST_INPUTS, convolution.kernel.shape[-1] // 2)


def normalized_convolution(
    convolution: ConvolutionBefore,
    groups: Any,
    gamma: Any,
    beta: Any,
    epsilon: float,
    mask: Any = None,
) -> tuple[Any, Any, Any]:
    """Maps of each episode, normalised by their mean and variance, which no pass over them finds.

    An entry of the maps is the product of its patch of pixel values, `p`, with the kernel `W`. So
    their mean is `W'E[p] + b` and their variance `W'Cov[p]W`, of a small matrix, and normalising
    is another kernel: `gamma W / sqrt(variance + epsilon)`. Where a patch has fewer numbers than
    the maps have channels, as in a network's first layer, the patches are read in place of the
    maps, which are written once, in their final form. Gradients of every order are automatic,
    and that of the bias, which the mean takes back, is zero in place of a rounding error. The maps
    before the normalisation have none; where something else reads them, they are made besides.

    Products of patches are added up for each image, and from there in double precision: the
    variance of what answers to edges alone is a small difference of large numbers.

    Args:
        convolution: `ConvolutionBefore`, of `B*n` images: `B` episodes of `n` each.
        groups: int or scalar integer tensor, `B`.
        gamma: float tensor, `[C]`.
        beta: float tensor, `[C]`.
        epsilon: float. Added to the variance.
        mask: bool tensor or None, `[B*n]` or `[B, n]`. False marks padding, which is normalised
            but moves nothing. None: every image counts.

    Returns:
        The normalised maps, `[B*n, h, w, C]`; and mean and biased variance, `[B, C]`.

    Reference:
        [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), Algorithm 1.

    Example:
    ```python
    import numpy as np
    import tensorflow as tf
    from kfsl.layers.convolution_before import convolution_before
    from kfsl.layers.normalized_convolution import normalized_convolution

    @tf.function
    def normalized(images, kernel):
        convolution = convolution_before(tf.nn.conv2d(images, kernel, 1, "SAME"))
        return normalized_convolution(convolution, 1, tf.ones(64), tf.zeros(64), 1e-5)[0]

    draw = np.random.default_rng(0).normal
    maps = normalized(draw(size=(5, 8, 8, 1)).astype("f"), draw(size=(3, 3, 1, 64)).astype("f"))
    assert maps.shape == (5, 8, 8, 64)
    assert np.allclose(np.var(maps, axis=(0, 1, 2)), 1.0, atol=1e-3)
    ```
    """
    kernel, patch_size = convolution.kernel, convolution.patch_size
    filters = kernel.shape[-1]
    rows, origin = _rows(convolution, mask)
    count, mean, covariance = _moments(rows, groups, mask)
    # An episode without images has the moments 0, as if no bias had been added either.
    has_images = count > 0.0
    mean = tf.where(has_images, mean, -origin)
    matrix = tf.cast(tf.reshape(kernel, (patch_size, filters)), "float64")
    # Rounding can bring a covariance that is almost none below none.
    variance = tf.maximum(tf.reduce_sum(matrix * tf.matmul(covariance, matrix), axis=1), 0.0)
    factor = tf.cast(gamma, "float64") * tf.math.rsqrt(variance + epsilon)
    folded = matrix * factor[:, None]
    offset = tf.cast(beta, "float64") - tf.linalg.matvec(folded, mean, transpose_a=True)
    center = tf.linalg.matvec(matrix, mean + origin, transpose_a=True)
    if convolution.bias is not None:
        bias = tf.cast(convolution.bias, "float64")
        center = center + tf.where(has_images, bias, tf.zeros_like(bias))
        # The mean takes it back; it stays connected, as Keras wants weights to be.
        offset = offset + factor * tf.where(has_images, tf.zeros_like(bias), bias)
    folded = tf.cast(tf.concat([folded, offset[:, None]], axis=1), kernel.dtype)
    outputs = tf.matmul(tf.reshape(rows, (groups, -1, patch_size + 1)), folded)
    return (
        tf.reshape(outputs, (-1, *convolution.size, filters)),
        tf.cast(center, kernel.dtype),
        tf.cast(variance, kernel.dtype),
    )


def _rows(convolution: ConvolutionBefore, mask: Any) -> tuple[Any, Any]:
    """Each patch from an origin near the mean, and a one behind; and that origin, `[p]`."""
    images = tf.stop_gradient(convolution.images)
    if mask is not None:
        images = tf.where(tf.reshape(mask, (-1, 1, 1, 1)), images, tf.zeros_like(images))
    # Any origin is right: it changes what rounding loses, and no derivative.
    origin = tf.reduce_mean(images, axis=(0, 1, 2))
    patches = convolution.patches(origin)
    rows = tf.concat([*patches, tf.ones_like(patches[0][..., :1])], axis=-1)
    return rows, tf.cast(tf.tile(origin, [len(patches)]), "float64")


def _moments(rows: Any, groups: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Number of each episode's patches, `[B, 1]`, their mean, `[B, p]`, and covariance."""
    width = rows.shape[-1]
    rows = tf.reshape(rows, (-1, rows.shape[1] * rows.shape[2], width))
    products = tf.cast(tf.matmul(rows, rows, transpose_a=True), "float64")
    products = tf.reshape(products, (groups, -1, width, width))
    if mask is not None:
        mask = tf.reshape(mask, (groups, -1, 1, 1))
        products = tf.where(mask, products, tf.zeros_like(products))
    products = tf.reduce_sum(products, axis=1)
    count = products[:, -1:, -1]
    shares = products / tf.maximum(count, 1.0)[..., None]
    mean = shares[:, -1, :-1]
    return count, mean, shares[:, :-1, :-1] - mean[:, :, None] * mean[:, None, :]
