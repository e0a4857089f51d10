"""A convolution and the normalisation behind it in one product, against one after the other."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.convolution_before import convolution_before
from kfsl.layers.normalized_convolution import normalized_convolution
from kfsl.layers.own_moments import normalize_by_own_moments
from tests.support.derivatives import draw, up_to_third_order

EPSILON, GROUPS, IMAGES, FILTERS = 0.5, 2, 3, 5


def in_one(images, kernel, bias, gamma, beta, mask, strides, padding):
    maps = tf.nn.conv2d(images, kernel, strides, padding) + tf.reshape(bias, (1, 1, 1, -1))
    found = convolution_before(maps)
    return normalized_convolution(found, GROUPS, gamma, beta, EPSILON, mask)


def apart(images, kernel, bias, gamma, beta, mask, strides, padding):
    maps = tf.nn.conv2d(images, kernel, strides, padding) + bias
    shape = maps.shape
    weights = None if mask is None else tf.cast(mask, maps.dtype)[:, :, None, None]
    outputs, *moments = normalize_by_own_moments(
        tf.reshape(maps, (GROUPS, IMAGES, -1, FILTERS)), gamma, beta, EPSILON, weights
    )
    return [tf.reshape(outputs, shape), *(tf.squeeze(m, (1, 2)) for m in moments)]


SOME, NONE = [[1, 1, 1], [1, 0, 1]], [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding", "mask"),
    [
        ((5, 6), (3, 3), 1, "SAME", None),
        ((5, 6), (3, 3), 1, "SAME", SOME),
        ((5, 6), (3, 3), 2, "SAME", NONE),
        ((6, 5), (3, 3), 2, "VALID", None),
        ((4, 5), (1, 1), 1, "SAME", SOME),
        ((5, 4), (2, 4), 3, "SAME", None),
    ],
)
def test_equals_one_after_the_other_to_third_order(size, kernel, strides, padding, mask):
    arguments = [
        draw(GROUPS * IMAGES, *size, 2, seed=1),
        draw(*kernel, 2, FILTERS, seed=2),
        draw(FILTERS, seed=3),
        draw(FILTERS, seed=4),
        draw(FILTERS, seed=5),
    ]
    others = (None if mask is None else tf.constant(mask) == 1, strides, padding)
    ours = tf.function(up_to_third_order)(in_one, arguments, *others)
    expected = tf.function(up_to_third_order)(apart, arguments, *others)
    for order, (found, wanted) in enumerate(zip(ours, expected, strict=True)):
        for a, b in zip(found, wanted, strict=True):
            scale = np.abs(b).max()
            assert scale > 1e-3
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * 10**order * scale)


def test_an_outer_gradient_of_the_outputs_alone_is_exactly_zero_for_the_bias():
    arguments = [draw(6, 5, 5, 2, seed=1), draw(3, 3, 2, FILTERS, seed=2), draw(FILTERS, seed=3)]

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs = in_one(*arguments, tf.ones(FILTERS), tf.zeros(FILTERS), None, 1, "SAME")[0]
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, arguments)

    *others, of_bias = gradient()
    np.testing.assert_array_equal(of_bias, np.zeros(FILTERS))
    assert all(np.abs(other).max() > 1e-3 for other in others)


def test_loses_no_more_digits_than_one_after_the_other():
    """Smooth, bright images and kernels that answer to their edges."""
    rng = np.random.default_rng(0)
    ramps = np.linspace(0, 0.3, 28)[None, :, None, None] * rng.uniform(0.5, 1, (20, 1, 28, 3))
    images = 4.0 + ramps + 0.002 * rng.normal(size=(20, 28, 28, 3))
    kernel = rng.normal(size=(3, 3, 3, 64))
    kernel[..., :32] -= kernel[..., :32].mean(axis=(0, 1), keepdims=True)
    gamma, beta = np.ones(64), np.zeros(64)

    def outputs(function, dtype):
        def run():
            maps = tf.nn.conv2d(tf.constant(images, dtype), tf.constant(kernel, dtype), 1, "SAME")
            ends = tf.constant(gamma, dtype), tf.constant(beta, dtype)
            if function is normalized_convolution:
                return function(convolution_before(maps), 1, *ends, 1e-3)[0]
            maps = tf.reshape(maps, (1, 20, -1, 64))
            return tf.reshape(function(maps, *ends, 1e-3)[0], (20, 28, 28, 64))

        return tf.function(run)().numpy()

    truth = outputs(normalize_by_own_moments, "float64")
    ours, other = (
        np.sqrt(np.mean((outputs(function, "float32") - truth) ** 2))
        for function in (normalized_convolution, normalize_by_own_moments)
    )
    assert ours < 2 * other < 1e-3, (ours, other)


def test_images_without_variance_are_not_below_none():
    """Of raw pixels, whose products are large."""
    images, kernel = np.full((8, 28, 28, 3), 253.0, "f"), np.zeros((3, 3, 3, 64), "f")
    images[0, 14:, 14:] = 252.9
    kernel[0, 0], kernel[0, 1] = 1.0, -1.0 + np.linspace(0, 1e-4, 64)

    @tf.function
    def moments():
        convolution = convolution_before(tf.nn.conv2d(images, kernel, 1, "VALID"))
        return normalized_convolution(convolution, 8, tf.ones(64), tf.zeros(64), 1e-5)

    outputs, _, variance = moments()
    assert np.isfinite(outputs).all()
    assert np.min(variance) >= 0.0
    assert np.max(variance[0]) > 0.0


def test_padding_moves_nothing_to_the_bit():
    images, kernel = draw(6, 5, 5, 2, seed=1), draw(3, 3, 2, FILTERS, seed=2)
    mask = tf.constant(SOME) == 1

    @tf.function
    def run(images):
        bias = tf.zeros(FILTERS, "float64")
        ends = tf.ones(FILTERS, "float64"), tf.zeros(FILTERS, "float64")
        return in_one(images, kernel, bias, *ends, mask, 1, "SAME")

    # The fifth image is padding.
    other = tf.concat([images[:4], 1e3 * draw(1, 5, 5, 2, seed=3), images[5:]], axis=0)
    kept = [0, 1, 2, 3, 5]
    for found, wanted, rows in zip(run(images), run(other), (kept, [0, 1], [0, 1]), strict=True):
        np.testing.assert_array_equal(tf.gather(found, rows), tf.gather(wanted, rows))
