"""Where the layer takes a convolution and itself for one product, and that nothing else changes."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.graph_flop import needed
from kfsl.backbones.conv4 import Conv4
from kfsl.distribution import replicas
from kfsl.episodes import EpisodeSpec
from kfsl.layers import normalization
from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization
from kfsl.learners.maml import MAML
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support.derivatives import draw


def kinds_needed(function, *arguments):
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    return {operation.type for operation in needed(graph)}


def convolve_and_normalize(filters=32, channels=1, dtype="float32", training=True, **options):
    convolution = keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype)
    layer = BatchNormalization(dtype=dtype)
    layer.trainable = options.pop("trainable", True)

    def run(images):
        with moments_scope(2, **options):
            return layer(convolution(images), training=training)

    images = tf.ones((4, 8, 8, channels))
    run(images)
    return run, images


def test_several_replicas_share_their_maps_moments(monkeypatch):
    keras.utils.clear_session(free_memory=False)
    monkeypatch.setattr(replicas, "count", lambda: 2)
    monkeypatch.setattr(replicas, "total", lambda value: 2.0 * value)
    assert "Conv2D" in kinds_needed(*convolve_and_normalize(across=True))


@pytest.mark.parametrize("images", [4, None])
@pytest.mark.parametrize("options", [{}, {"update": True}, {"filters": 18}, {"across": True}])
def test_in_training_no_convolution_is_left(images, options):
    run, _ = convolve_and_normalize(**options)

    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(images) ** 3)
        return tape.gradient(loss, tape.watched_variables())

    given = tf.TensorSpec((images, 8, 8, 1))
    assert not {"Conv2D", "Conv2DBackpropFilter"} & kinds_needed(gradient, given)


def test_without_a_scope_the_maps_between_have_a_gradient():
    convolution, layer = keras.layers.Conv2D(32, 3), BatchNormalization()

    @tf.function
    def gradient(images):
        maps = convolution(images)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            loss = tf.reduce_sum(layer(maps, training=True) ** 3)
        return tape.gradient(loss, maps)

    assert np.abs(gradient(draw(2, 8, 8, 1, seed=0))).max() > 1e-4


MOMENTS = {"batch_normalization": (np.zeros((2, 32), "f"), np.ones((2, 32), "f"))}


@pytest.mark.parametrize(
    "options",
    [
        {"training": False},
        {"filters": 17},  # Eighteen numbers of two patches are more.
        {"dtype": "mixed_bfloat16"},
        {"trainable": False},
        {"channels": 4, "filters": 128},  # Products of so long patches take more than they save.
        {"given": MOMENTS},
    ],
    ids=lambda options: ", ".join(options),
)
def test_else_the_maps_are_normalised(options):
    keras.utils.clear_session(free_memory=False)
    assert "Conv2D" in kinds_needed(*convolve_and_normalize(**options))


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        ({}, None),
        ({"scale": False}, [[1, 1, 0], [1, 1, 1]]),
        ({"center": False}, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]),
        ({"use_bias": False}, [True, True, False, True, True, True]),
    ],
)
def test_moments_and_averages_are_those_of_the_maps(options, mask, monkeypatch):
    images = draw(6, 8, 8, 1, seed=1)
    use_bias = options.pop("use_bias", True)

    def run():
        keras.utils.set_random_seed(0)
        convolution = keras.layers.Conv2D(
            32, 3, use_bias=use_bias, bias_initializer="normal", dtype="float64"
        )
        layer = BatchNormalization(dtype="float64", **options)

        @tf.function
        def call(groups):
            with moments_scope(groups, mask=mask, update=True) as scope:
                # Twice, the second time of its own moments.
                outputs = [layer(convolution(each), training=True) for each in (images, -images)]
            return outputs, scope.moments

        outputs, moments = call(tf.constant(2))
        assert len(moments) == 2
        averages = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
        return tf.nest.flatten([outputs, moments, averages])

    keras.utils.clear_session(free_memory=False)
    ours = run()
    monkeypatch.setattr(normalization, "convolution_before", lambda maps: None)
    keras.utils.clear_session(free_memory=False)
    for found, expected in zip(ours, run(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bn_policy", ["support", "running"])
@pytest.mark.parametrize(
    "make",
    [
        lambda network, policy: MAML(network, ways=3, steps=2, inner_rate=0.1, bn_policy=policy),
        # So many steps are a loop.
        lambda network, policy: MAML(network, ways=3, steps=6, inner_rate=0.1, bn_policy=policy),
        lambda network, policy: PrototypicalNetwork(network, ways=3, bn_policy=policy),
    ],
    ids=["maml", "maml, 6 steps", "prototypical_network"],
)
def test_learners_have_the_same_loss_and_gradients(make, bn_policy, monkeypatch):
    spec = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))
    episode, labels = spec.random_episode(meta_batch=2)
    episode = {
        key: tf.cast(value, "float64") if value.dtype.kind == "f" else tf.constant(value)
        for key, value in episode.items()
    }

    def run():
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy("float64")
        try:
            # Smooth, or rounding would turn a unit off.
            network = Conv4((8, 8, 1), filters=20, num_pools=2, activation="softplus")
            learner = make(network, bn_policy)
            learner.compile(keras.optimizers.SGD(0.1))
            step = tf.function(learner.loss_and_gradients, autograph=False)
            _, loss, found = step(episode, tf.constant(labels))
        finally:
            keras.config.set_dtype_policy("float32")
        return loss, [
            np.zeros(weight.shape) if gradient is None else np.asarray(gradient)
            for weight, gradient in zip(learner.trainable_weights, found, strict=True)
        ]

    seen = itertools.count()
    real = normalization.normalized_convolution

    def counted(*arguments):
        next(seen)
        return real(*arguments)

    monkeypatch.setattr(normalization, "normalized_convolution", counted)
    loss, gradients = run()
    assert next(seen) > 0
    monkeypatch.setattr(normalization, "convolution_before", lambda maps: None)
    expected_loss, expected = run()
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-11)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-11)
