"""The written-out derivative of normalisation, against automatic differentiation of its formula."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.own_moments import normalize_by_own_moments
from tests.support.derivatives import draw, up_to_third_order

EPSILON = 0.5  # Derivatives of a small one are too large for sines of them to be told apart.
SHAPE = (2, 3, 4, 5)  # Episodes, images, locations, channels.


def formula(x, gamma, beta, epsilon, weights=None):
    if weights is None:
        mean = tf.reduce_mean(x, axis=(1, 2), keepdims=True)
        variance = tf.reduce_mean((x - mean) ** 2, axis=(1, 2), keepdims=True)
    else:
        count = tf.maximum(tf.reduce_sum(weights, axis=(1, 2), keepdims=True) * x.shape[2], 1.0)
        mean = tf.reduce_sum(weights * x, axis=(1, 2), keepdims=True) / count
        variance = tf.reduce_sum(weights * (x - mean) ** 2, axis=(1, 2), keepdims=True) / count
    return gamma * tf.math.rsqrt(variance + epsilon) * (x - mean) + beta, mean, variance


def arguments():
    return [draw(*SHAPE, seed=1), draw(5, seed=2), draw(5, seed=3)]


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    "mask", [None, [[1, 1, 1], [1, 0, 1]], [[1, 0, 0], [0, 0, 0]]], ids=["none", "some", "all"]
)
def test_equals_the_formula_to_third_order(mask, traced):
    weights = None if mask is None else tf.constant(mask, "float64")[:, :, None, None]
    run = tf.function(up_to_third_order) if traced else up_to_third_order
    ours = run(normalize_by_own_moments, arguments(), EPSILON, weights)
    for order, (found, expected) in enumerate(
        zip(ours, up_to_third_order(formula, arguments(), EPSILON, weights), strict=True)
    ):
        for a, b in zip(found, expected, strict=True):
            scale = np.abs(b).max()
            assert scale > 1e-3
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * 10**order * scale)


@pytest.mark.parametrize("masked", [False, True])
def test_goes_over_the_maps_less_often_than_automatic_differentiation(masked):
    """The reason for it: what it costs is traffic of whole maps."""
    computing = {"Mul", "AddV2", "Sub", "Neg", "Tile", "BroadcastTo", "AddN", "RealDiv", "Square"}
    weights = tf.ones((2, 3, 1, 1)) if masked else None

    def map_sized(normalize):
        def gradient(x, gamma, beta):
            with tf.GradientTape() as tape:
                tape.watch([x, gamma, beta])
                loss = tf.reduce_sum(normalize(x, gamma, beta, EPSILON, weights)[0] ** 2)
            return tape.gradient(loss, [x, gamma, beta])

        graph = tf.function(gradient).get_concrete_function(
            tf.TensorSpec(SHAPE), tf.TensorSpec((5,)), tf.TensorSpec((5,))
        )
        return sum(
            op.type in computing and tuple(op.outputs[0].shape) == SHAPE
            for op in graph.graph.get_operations()
        )

    assert map_sized(normalize_by_own_moments) <= 0.75 * map_sized(formula)


@pytest.mark.parametrize("traced", [False, True])
def test_no_gradient_reaches_the_weights(traced):
    def gradient(x, weights):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            outputs, _, _ = normalize_by_own_moments(
                x, tf.ones(5, x.dtype), tf.zeros(5, x.dtype), EPSILON, weights
            )
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, [x, weights], unconnected_gradients="zero")

    run = tf.function(gradient) if traced else gradient
    of_maps, of_weights = run(draw(*SHAPE, seed=1), tf.ones((2, 3, 1, 1), "float64"))
    np.testing.assert_array_equal(of_weights, np.zeros((2, 3, 1, 1)))
    assert np.abs(of_maps).max() > 1e-3
