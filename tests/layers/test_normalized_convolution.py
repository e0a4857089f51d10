"""A convolution and the normalisation behind it in one product, against one after the other."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.distribution import replicas
from kfsl.episodes import EpisodeSpec
from kfsl.layers import normalization
from kfsl.layers.convolution_before import convolution_before
from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization
from kfsl.layers.normalized_convolution import normalized_convolution
from kfsl.layers.own_moments import normalize_by_own_moments
from kfsl.learners.maml import MAML
from kfsl.learners.prototypical_network import PrototypicalNetwork

EPSILON, GROUPS, IMAGES, FILTERS = 0.5, 2, 3, 5


def draw(*shape, seed):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


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


def up_to_third_order(function, arguments, *others):
    """What it returns; then gradients of a function of that, of those gradients, and of those."""
    tapes = [tf.GradientTape() for _ in range(3)]
    for tape in tapes:
        tape.__enter__()
        tape.watch(arguments)
    tensors = function(*arguments, *others)
    orders = [tensors]
    for order, tape in enumerate(reversed(tapes)):
        scalar = tf.add_n(
            [
                tf.reduce_sum(tf.sin(2.0 * tensor) * draw(*tensor.shape, seed=10 * order + i))
                for i, tensor in enumerate(tensors)
            ]
        )
        tape.__exit__(None, None, None)
        tensors = tape.gradient(scalar, arguments)
        orders.append(tensors)
    return orders


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


def needed_operations(function, *arguments):
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    found, waiting = {}, [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return {op.type for op in found.values()}


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
    assert "Conv2D" in needed_operations(*convolve_and_normalize(across=True))


@pytest.mark.parametrize("images", [4, None])
@pytest.mark.parametrize("options", [{}, {"update": True}, {"filters": 18}, {"across": True}])
def test_in_training_no_convolution_is_left(images, options):
    run, _ = convolve_and_normalize(**options)

    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(images) ** 3)
        return tape.gradient(loss, tape.watched_variables())

    given = tf.TensorSpec((images, 8, 8, 1))
    assert not {"Conv2D", "Conv2DBackpropFilter"} & needed_operations(gradient, given)


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
    assert "Conv2D" in needed_operations(*convolve_and_normalize(**options))


@pytest.mark.parametrize(
    "maps",
    [
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "SAME", dilations=2),
        lambda images, kernel: tf.nn.conv2d(tf.repeat(images, 2, -1), kernel, 1, "SAME"),
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, [[0, 0], [2, 0], [0, 2], [0, 0]]),
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "SAME") + tf.ones((2, 6, 6, 8)),
        lambda images, kernel: tf.nn.conv2d(images, kernel[..., :6], 1, "SAME") + tf.ones((6, 1)),
        lambda images, kernel: tf.nn.conv2d(images, kernel[..., :1], 1, "SAME") + tf.ones(8),
        lambda images, kernel: tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME")),
        lambda images, kernel: images,
    ],
    ids=[
        "dilated",
        "groups",
        "explicit padding",
        "sum of maps",
        "rows",
        "one filter",
        "activation",
        "images",
    ],
)
def test_other_maps_come_from_none(maps):
    with tf.Graph().as_default():
        images, kernel = tf.ones((2, 6, 6, 2)), tf.ones((3, 3, 2, 8))
        assert convolution_before(maps(images, kernel)) is None
        assert convolution_before(tf.nn.conv2d(images, kernel, 1, "SAME")) is not None


def test_images_of_unknown_size_come_from_none():
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder("float32", (2, None, 6, 2))
        assert convolution_before(tf.nn.conv2d(images, tf.ones((3, 3, 2, 8)), 1, "SAME")) is None


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
