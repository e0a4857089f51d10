"""LayerNormalization and GroupNormalization: Keras's values, and exact second derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.group_normalization import GroupNormalization
from kfsl.layers.layer_normalization import LayerNormalization

PAIRS = {
    "layer": (LayerNormalization, keras.layers.LayerNormalization, {}),
    "layer_plain": (
        LayerNormalization,
        keras.layers.LayerNormalization,
        {"center": False, "scale": False, "epsilon": 0.1},
    ),
    "group": (GroupNormalization, keras.layers.GroupNormalization, {"groups": 3}),
    "instance": (GroupNormalization, keras.layers.GroupNormalization, {"groups": -1}),
    "group_plain": (
        GroupNormalization,
        keras.layers.GroupNormalization,
        {"groups": 2, "center": False, "scale": False, "epsilon": 0.1},
    ),
}
pairs = pytest.mark.parametrize(("ours", "stock", "arguments"), PAIRS.values(), ids=PAIRS.keys())


def maps(*shape, seed=0, dtype="float32"):
    return (1.5 + 2 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def randomised(layer, shape):
    layer.build(shape)
    rng = np.random.default_rng(4)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, size=variable.shape))
    return layer


@pairs
def test_equals_keras_to_first_order(ours, stock, arguments):
    x = tf.constant(maps(3, 4, 5, 6))
    results = []
    for cls in (stock, ours):
        layer = randomised(cls(**arguments), x.shape)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
            loss = tf.reduce_sum(tf.sin(outputs) * maps(*x.shape, seed=1))
        results.append([outputs, *tape.gradient(loss, [x, *layer.trainable_variables])])
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def second_order_error(layer):
    """Relative error of the derivative of a function of a gradient, float64."""
    x = maps(2, 3, 6, dtype="float64")
    layer = randomised(layer, x.shape)
    target = tf.constant(maps(*x.shape, seed=1, dtype="float64"))

    def value(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(layer(x)) * target)
        return tf.reduce_sum(tf.sin(tape.gradient(loss, x)))

    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = value(images)
    exact = np.ravel(tape.gradient(result, images))
    value = tf.function(value)
    steps = (1e-6 * np.eye(x.size)).reshape(-1, *x.shape)
    differences = np.array([(value(x + s) - value(x - s)) / 2e-6 for s in steps])
    return np.linalg.norm(exact - differences) / np.linalg.norm(differences)


@pairs
def test_second_derivative_is_exact(ours, stock, arguments):
    assert second_order_error(ours(**arguments, dtype="float64")) < 1e-7


@pytest.mark.parametrize("name", ["layer", "group"])
def test_second_derivative_of_the_stock_layer_is_wrong(name):
    """The reason these layers exist. If this fails, Keras has been mended."""
    _, stock, arguments = PAIRS[name]
    assert second_order_error(stock(**arguments, dtype="float64")) > 1e-2


@pairs
def test_free_shape_config_and_saved_model(ours, stock, arguments, tmp_path):
    layer = ours(**arguments, name="normalization")
    assert ours.from_config(layer.get_config()).get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((None, None, 6)), layer])
    for variable in layer.variables:
        variable.assign(maps(6))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for size in (4, 7):
        x = maps(2, size, 5, 6)
        np.testing.assert_array_equal(loaded(x), layer(x))


@pairs
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_float32_moments(ours, stock, arguments, policy):
    layer = randomised(ours(**arguments, dtype=policy), (2, 5, 5, 6))
    # The squares overflow float16.
    x = tf.cast(300 * maps(2, 5, 5, 6), layer.compute_dtype)
    exact = randomised(ours(**arguments), (2, 5, 5, 6))(tf.cast(x, "float32"))
    outputs = layer(x)
    assert outputs.dtype == layer.compute_dtype
    resolution = {"mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7}[policy]
    np.testing.assert_allclose(tf.cast(outputs, "float32"), exact, rtol=resolution, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="groups must be positive"):
        GroupNormalization(groups=0)
    with pytest.raises(ValueError, match=r"groups dividing C; received groups=4"):
        GroupNormalization(groups=4)(maps(2, 3, 6))
    for cls in (LayerNormalization, GroupNormalization):
        with pytest.raises(ValueError, match="epsilon must be positive"):
            cls(epsilon=-1.0)
    with pytest.raises(ValueError, match="known last axis"):
        LayerNormalization().build((None, None))
