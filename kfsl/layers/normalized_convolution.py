"""A convolution of few pixel values and the normalisation behind it, in one product."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kfsl.layers.convolution_before import ConvolutionBefore


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
    and that of the bias, which the mean takes back, is zero in place of a rounding error.

    Products of patches are added up in double precision, image by image: the variance of what
    answers to edges alone is a small difference of large numbers.

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
    """
    kernel = convolution.kernel
    patches, filters = convolution.inputs, kernel.shape[-1]
    rows, origin = _rows(convolution)
    mean, covariance = _moments(rows, groups, mask)
    matrix = tf.cast(tf.reshape(kernel, (patches, filters)), "float64")
    variance = tf.reduce_sum(matrix * tf.matmul(covariance, matrix), axis=1)
    factor = tf.cast(gamma, "float64") * tf.math.rsqrt(variance + epsilon)
    folded = matrix * factor[:, None]
    offset = tf.cast(beta, "float64") - tf.linalg.matvec(folded, mean, transpose_a=True)
    center = tf.linalg.matvec(matrix, mean + origin, transpose_a=True)
    if convolution.bias is not None:
        bias = tf.cast(convolution.bias, "float64")
        center = center + bias
        # Connected, or Keras warns of a weight without gradient.
        offset = offset + 0.0 * bias
    folded = tf.cast(tf.concat([folded, offset[:, None]], axis=1), kernel.dtype)
    outputs = tf.matmul(tf.reshape(rows, (groups, -1, patches + 1)), folded)
    return (
        tf.reshape(outputs, (-1, *convolution.size, filters)),
        tf.cast(center, kernel.dtype),
        tf.cast(variance, kernel.dtype),
    )


def _rows(convolution: ConvolutionBefore) -> tuple[Any, Any]:
    """Each patch from an origin near its mean, and a one behind; and that origin, `[inputs]`."""
    # Any origin is right: it changes what rounding loses, and no derivative.
    origin = tf.stop_gradient(tf.reduce_mean(convolution.images, axis=(0, 1, 2)))
    patches = convolution.patches(origin)
    rows = tf.concat([*patches, tf.ones_like(patches[0][..., :1])], axis=-1)
    return rows, tf.cast(tf.tile(origin, [len(patches)]), "float64")


def _moments(rows: Any, groups: Any, mask: Any) -> tuple[Any, Any]:
    """Mean, `[B, inputs]`, and covariance, `[B, inputs, inputs]`, of each episode's patches."""
    width = rows.shape[-1]
    rows = tf.reshape(rows, (-1, rows.shape[1] * rows.shape[2], width))
    products = tf.cast(tf.matmul(rows, rows, transpose_a=True), "float64")
    products = tf.reshape(products, (groups, -1, width, width))
    if mask is not None:
        mask = tf.reshape(mask, (groups, -1, 1, 1))
        products = tf.where(mask, products, tf.zeros_like(products))
    products = tf.reduce_sum(products, axis=1)
    shares = products / tf.maximum(products[:, -1:, -1:], 1.0)
    mean = shares[:, -1, :-1]
    return mean, shares[:, :-1, :-1] - mean[:, :, None] * mean[:, None, :]
