"""BatchNormalization and moments_scope: values, episodes, masks, and exact second derivatives."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization


def normal(*shape, seed=0, mean=1.5, std=2.0, dtype="float32"):
    return (mean + std * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def randomised(layer, channels, seed=5, ndim=2):
    """The layer with weights and averages that are not the trivial ones."""
    layer.build((None,) * (ndim - 1) + (channels,))
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, size=variable.shape))
    return layer


# --- Second derivatives -------------------------------------------------------------------------


# --- The same values as Keras -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 6), (6, 5, 4, 3)])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (False, False)])
def test_equals_keras_to_first_order(shape, center, scale):
    x, cotangent = normal(*shape), normal(*shape, seed=1)
    results = []
    for cls in (keras.layers.BatchNormalization, BatchNormalization):
        layer = cls(momentum=0.8, epsilon=0.01, center=center, scale=scale)
        layer = randomised(layer, shape[-1], ndim=len(shape))
        images = tf.Variable(x)
        with tf.GradientTape() as tape:
            trained = layer(images, training=True)
            loss = tf.reduce_sum(trained * cotangent)
        gradients = tape.gradient(loss, [images, *layer.trainable_variables])
        results.append([trained, layer(x, training=False), *gradients, *layer.variables])
    for stock, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, stock, rtol=2e-4, atol=2e-5)


def test_frozen_layer_uses_its_averages_even_in_a_scope():
    layer = randomised(BatchNormalization(trainable=False), 3)
    before = [v.numpy() for v in layer.variables]
    expected = layer(normal(6, 3), training=False)
    np.testing.assert_array_equal(layer(normal(6, 3), training=True), expected)
    with moments_scope(groups=2, update=False) as scope:
        np.testing.assert_array_equal(layer(normal(6, 3), training=True), expected)
    assert scope.moments == {}
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_stateless_call_returns_the_moved_averages():
    x = normal(10, 3)
    layer = randomised(BatchNormalization(momentum=0.7), 3)
    trainable = [v.value for v in layer.trainable_variables]
    frozen = [v.value for v in layer.non_trainable_variables]
    outputs, (mean, variance) = tf.function(layer.stateless_call)(
        trainable, frozen, x, training=True
    )
    np.testing.assert_array_equal(layer.moving_mean, frozen[0])
    np.testing.assert_allclose(mean, 0.7 * frozen[0] + 0.3 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.7 * frozen[1] + 0.3 * x.var(0), rtol=1e-5)
    np.testing.assert_allclose(outputs, layer(x, training=True), rtol=1e-5, atol=1e-6)


# --- Episodes, masks, given moments -------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("groups", [3, np.int32(3), tf.constant(3)])
def test_groups_are_normalised_alone(groups, training):
    layer = randomised(BatchNormalization(), 4)
    x = normal(3, 5, 6, 7, 4) * np.array([1.0, 3.0, 0.2], "float32").reshape(3, 1, 1, 1, 1)
    with moments_scope(groups) as scope:
        folded = layer(x.reshape(15, 6, 7, 4), training=training)
    (mean, variance) = scope.moments[layer.path]
    np.testing.assert_allclose(mean, x.mean((1, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, x.var((1, 2, 3)), rtol=1e-4)
    for episode, images in zip(np.split(folded.numpy(), 3), x, strict=True):
        with moments_scope():
            np.testing.assert_allclose(layer(images), episode, rtol=1e-5, atol=1e-5)


def test_a_scope_of_one_group_is_the_batch():
    layer = randomised(BatchNormalization(), 4)
    x = normal(6, 5, 5, 4)
    with moments_scope():
        inside = layer(x, training=False)
    np.testing.assert_allclose(inside, layer(x, training=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_traced_with_free_batch_and_size(jit_compile):
    layer = randomised(BatchNormalization(), 4)
    x = normal(6, 5, 3, 4)
    mask = np.array([1, 1, 0, 1, 0, 1], bool)

    def normalise(images, groups, mask):
        with moments_scope(groups, mask) as scope:
            return layer(images), scope.moments[layer.path]

    signature = [
        tf.TensorSpec([None, None, None, 4]),
        tf.TensorSpec([], "int32"),
        tf.TensorSpec([None], "bool"),
    ]
    traced = tf.function(normalise, input_signature=signature, jit_compile=jit_compile)
    actual, expected = traced(x, 2, mask), normalise(x, 2, mask)
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


def masked_run(layer, x, mask, groups):
    images = tf.Variable(x)
    cotangent = normal(*x.shape, seed=9) * mask[:, None, None, None]
    with tf.GradientTape() as tape:
        with moments_scope(groups, mask) as scope:
            outputs = layer(images, training=True)
        loss = tf.reduce_sum(tf.sin(outputs) * cotangent)
    gradients = tape.gradient(loss, [images, *layer.trainable_variables])
    return outputs.numpy(), scope.moments[layer.path], gradients


@pytest.mark.parametrize("mask_type", ["bool", "float32"])
def test_padding_changes_nothing(mask_type):
    layer = randomised(BatchNormalization(), 4)
    mask = np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 0], mask_type)
    x = normal(10, 3, 3, 4)
    other = np.where(mask.astype(bool)[:, None, None, None], x, 100 * normal(10, 3, 3, 4, seed=2))
    outputs, moments, gradients = masked_run(layer, x, mask, 2)
    outputs2, moments2, gradients2 = masked_run(layer, other.astype("float32"), mask, 2)
    kept = mask.astype(bool)
    np.testing.assert_array_equal(outputs2[kept], outputs[kept])
    for a, b in zip([*moments2, *gradients2], [*moments, *gradients], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(gradients[0][~kept], 0.0)
    assert np.abs(gradients[0][kept]).min() > 0
    for episode, images in enumerate((x[:3], x[5:9])):
        np.testing.assert_allclose(moments[0][episode], images.mean((0, 1, 2)), rtol=1e-5)
        np.testing.assert_allclose(moments[1][episode], images.var((0, 1, 2)), rtol=1e-4)


def test_mask_may_have_an_episode_axis_and_an_episode_may_be_all_padding():
    layer = randomised(BatchNormalization(), 4)
    x = normal(6, 4)
    with moments_scope(2, mask=np.array([[1, 1, 0], [0, 0, 0]])) as scope:
        outputs = layer(x)
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(scope.moments[layer.path][0][0], x[:2].mean(0), rtol=1e-5)
    np.testing.assert_array_equal(scope.moments[layer.path][0][1], np.zeros(4))


def test_given_moments_serve_the_queries():
    layer = randomised(BatchNormalization(epsilon=0.1), 4)
    support, queries = normal(2, 5, 3, 3, 4), normal(2, 7, 3, 3, 4, seed=1, mean=-4.0)
    with moments_scope(2) as scope:
        layer(support.reshape(10, 3, 3, 4))
    with moments_scope(2, given=scope.moments) as served:
        outputs = layer(queries.reshape(14, 3, 3, 4), training=True).numpy()
    mean, variance = (np.asarray(m)[:, None, None, None] for m in scope.moments[layer.path])
    expected = (queries - mean) / np.sqrt(variance + 0.1) * layer.gamma + layer.beta
    np.testing.assert_allclose(outputs.reshape(queries.shape), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(served.moments[layer.path][0], scope.moments[layer.path][0])
    # A query's output does not depend on the other queries.
    with moments_scope(2, given=scope.moments):
        alone = layer(queries[:, :1].reshape(2, 3, 3, 4))
    np.testing.assert_allclose(alone, outputs[[0, 7]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("update", [True, False])
def test_only_an_updating_scope_moves_the_averages(update):
    layer = randomised(BatchNormalization(momentum=0.9), 3)
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    x = normal(2, 6, 3) + np.array([0.0, 5.0], "float32").reshape(2, 1, 1)
    with moments_scope(2, update=update):
        layer(x.reshape(12, 3), training=True)
    if update:
        mean = 0.9 * mean + 0.1 * x.mean(1).mean(0)
        variance = 0.9 * variance + 0.1 * x.var(1).mean(0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def test_keys_are_identifiers_and_repeated_calls_have_their_own():
    shared = BatchNormalization(name="shared-bn.1")
    with moments_scope() as scope:
        shared(normal(4, 3))
        shared(normal(4, 3, seed=1, mean=9.0))
    first, second = scope.moments
    assert first.isidentifier()
    assert second.isidentifier()
    assert np.all(scope.moments[second][0] - scope.moments[first][0] > 3)
    with moments_scope(given=scope.moments):
        shared(normal(4, 3))
        served = shared(np.broadcast_to(scope.moments[second][0], (4, 3)))
    np.testing.assert_allclose(served, np.zeros((4, 3)), atol=1e-5)


def test_the_innermost_scope_counts_and_other_threads_see_none():
    layer = randomised(BatchNormalization(), 3)
    x, elsewhere = normal(6, 3), []
    with moments_scope(2) as outer:
        with moments_scope(3) as inner:
            layer(x)
        thread = threading.Thread(target=lambda: elsewhere.append(layer(x, training=False)))
        thread.start()
        thread.join()
        assert outer.moments == {}
        assert inner.moments[layer.path][0].shape == (3, 3)
        layer(x)
        assert outer.moments[layer.path][0].shape == (2, 3)
    np.testing.assert_array_equal(elsewhere[0], layer(x, training=False))


def test_a_scope_ends_with_an_error_inside():
    layer = randomised(BatchNormalization(), 3)
    x = normal(6, 3)
    expected = layer(x, training=False)
    with pytest.raises(ValueError, match=r"6 images .* is not 4 episodes"), moments_scope(4):
        layer(x)
    np.testing.assert_array_equal(layer(x, training=False), expected)


# --- Mixed precision, configuration, mistakes ---------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)]
)
@pytest.mark.parametrize("scoped", [True, False])
def test_mixed_precision_keeps_float32_moments(policy, tolerance, scoped):
    layer = randomised(BatchNormalization(dtype=policy), 4)
    reference = randomised(BatchNormalization(dtype="float32"), 4)
    # The squares overflow float16, and the mean is far larger than the deviation.
    x = tf.cast(normal(6, 5, 5, 4, mean=900.0, std=30.0), layer.compute_dtype)
    if scoped:
        with moments_scope(2) as scope:
            outputs = layer(x)
            expected = reference(tf.cast(x, "float32"))
        assert all(m.dtype == "float32" for m in scope.moments[layer.path])
    else:
        outputs = layer(x, training=True)
        expected = reference(tf.cast(x, "float32"), training=True)
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=3 * tolerance)
    assert all(v.dtype == "float32" for v in layer.variables)


def test_config_and_saved_model_round_trip(tmp_path):
    layer = BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, scale=True, name="bn")
    assert BatchNormalization.from_config(layer.get_config()).get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    model(normal(4, 5, 5, 3), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(2, 6, 7, 3, seed=3)
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"momentum": 1.5}, "momentum must lie"), ({"epsilon": 0.0}, "epsilon must be positive")],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchNormalization(**arguments)


def test_wrong_scopes():
    with pytest.raises(ValueError, match="groups must be at least 1"), moments_scope(0):
        pass
    with pytest.raises(ValueError, match="pass update=True to that scope"):  # noqa: SIM117
        with moments_scope(given={}, update=True):
            pass
    layer = BatchNormalization(name="bn")
    with (
        pytest.raises(ValueError, match="none for the layer 'bn'; they have"),
        moments_scope(given={"other": ()}),
    ):
        layer(normal(4, 3))
    with pytest.raises(ValueError, match="known number of channels"):
        BatchNormalization().build((None, 4, None))
