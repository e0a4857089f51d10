"""Second derivatives through batch normalisation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization
from tests.layers.test_normalization import normal


def network(normalization, kind):
    """Convolution or dense layer, normalisation, ReLU, dense layer; all float64."""
    keras.utils.set_random_seed(3)
    first = {
        "dense": lambda: keras.layers.Dense(4, dtype="float64"),
        "conv": lambda: keras.layers.Conv2D(3, 3, padding="same", dtype="float64"),
    }[kind]()
    layers = [first, normalization(dtype="float64"), keras.layers.ReLU(dtype="float64")]
    if kind == "conv":
        layers.append(keras.layers.Flatten(dtype="float64"))
    model = keras.Sequential([*layers, keras.layers.Dense(2, dtype="float64")])
    model.build((None, 5) if kind == "dense" else (None, 4, 4, 2))
    return model


def plain(model, x):
    return model(x, training=True)


def episodes(model, x):
    with moments_scope(groups=2):
        return model(x, training=True)


def masked(model, x):
    mask = np.array([True, True, False, True, True, False, True, True])
    with moments_scope(groups=2, mask=mask):
        return model(x, training=True) * mask[:, None]


def support_moments(model, x):
    with moments_scope() as scope:
        model(x[:5], training=True)
    with moments_scope(given=scope.moments):
        return model(x[5:], training=True)


def second_order_error(model, forward, x):
    """Relative error of d/dw of a function of dL/dw against central differences."""
    weights = model.trainable_variables
    sizes = [int(np.prod(w.shape)) for w in weights]

    def meta_loss():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(forward(model, x) - 0.3))
        gradients = tape.gradient(loss, weights)
        return tf.add_n([tf.reduce_sum(tf.sin(3.0 * g + 0.5)) for g in gradients])

    @tf.function
    def exact():
        with tf.GradientTape() as tape:
            value = meta_loss()
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        return tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)

    value = tf.function(meta_loss)
    start = np.concatenate([w.numpy().ravel() for w in weights])

    def value_at(flat):
        for w, part in zip(weights, np.split(flat, np.cumsum(sizes)[:-1]), strict=True):
            w.assign(part.reshape(w.shape))
        return value().numpy()

    step = 1e-6
    steps = step * np.eye(len(start))
    differences = [(value_at(start + d) - value_at(start - d)) / (2 * step) for d in steps]
    value_at(start)
    return np.linalg.norm(exact() - differences) / np.linalg.norm(differences)


@pytest.mark.parametrize("forward", [plain, episodes, masked, support_moments])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_second_derivative_is_exact(kind, forward):
    x = normal(8, 5, dtype="float64") if kind == "dense" else normal(8, 4, 4, 2, dtype="float64")
    assert second_order_error(network(BatchNormalization, kind), forward, x) < 1e-6


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_second_derivative_of_the_stock_layer_is_wrong(kind):
    """The reason this layer exists. If this fails, Keras has been mended."""
    x = normal(8, 5, dtype="float64") if kind == "dense" else normal(8, 4, 4, 2, dtype="float64")
    assert second_order_error(network(keras.layers.BatchNormalization, kind), plain, x) > 1e-2
