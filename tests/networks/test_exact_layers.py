"""`kfsl.networks.exact`: models with the same outputs and exact second derivatives."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.maml import MAML
from kfsl.networks.exact_layers import check_exact, exact, inexact_layers
from tests.support.contract import generic

IMAGES = (6, 6, 3)


def images(count=4):
    return np.random.default_rng(0).normal(size=(count, *IMAGES)).astype("float32")


def nested(dtype="float32"):
    """A functional model with a sequential one in it, a shared layer and all three stock layers."""
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.Dense(4, dtype=dtype),
            layers.LayerNormalization(epsilon=1e-2, scale=False, dtype=dtype, name="ln"),
        ],
        name="inner",
    )
    inputs = keras.Input(IMAGES)
    x = layers.Conv2D(4, 3, padding="same", dtype=dtype, name="conv")(inputs)
    x = layers.BatchNormalization(momentum=0.7, epsilon=1e-2, dtype=dtype, name="bn")(x)
    x = inner(inner(x)) + layers.Lambda(lambda y: 2 * y, dtype=dtype)(x)
    x = layers.GroupNormalization(2, center=False, dtype=dtype, name="gn")(x)
    outputs = layers.Dense(2, activation="softplus", dtype=dtype, name="head")(x)
    return generic(keras.Model(inputs, outputs, name="nested"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_same_outputs_names_weights_and_moving_averages(dtype):
    model = nested(dtype)
    copy = exact(model)
    assert [x.name for x in inexact_layers(model)] == ["bn", "inner/ln", "gn"]
    assert inexact_layers(copy) == []
    check_exact(copy)
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    assert copy.name == model.name
    policies = {layer.name: layer.dtype_policy.name for layer in copy._flatten_layers()}
    assert {policies[name] for name in ("conv", "bn", "ln", "gn", "head")} == {dtype}
    tolerance = {"float32": 1e-5, "float64": 1e-12, "mixed_bfloat16": 0.05}[dtype]
    for training in (False, True):  # The second call moves the averages.
        expected = ops.convert_to_numpy(ops.cast(model(images(), training=training), "float64"))
        actual = ops.convert_to_numpy(ops.cast(copy(images(), training=training), "float64"))
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    for old, new in zip(model.weights, copy.weights, strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_allclose(new.numpy(), old.numpy(), rtol=tolerance, err_msg=old.path)


def test_a_functional_model_in_a_sequential_one():
    inputs = keras.Input((6, 6, 2))
    inner = keras.Model(inputs, layers.BatchNormalization(name="bn")(inputs), name="inner")
    model = generic(sequential(layers.Conv2D(2, 3, padding="same"), inner))
    copy = exact(model)
    assert type(copy) is keras.Sequential
    assert inexact_layers(copy) == []
    for training in (False, True):
        expected = model(images(), training=training)
        np.testing.assert_allclose(copy(images(), training=training), expected, atol=1e-5)
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]


def test_the_copy_is_apart():
    model = nested()
    before = model.get_weights()
    copy = exact(model)
    for weight in copy.weights:
        weight.assign(weight + 1.0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_frozen_layers_stay_frozen_and_count_as_inexact():
    model = nested()
    model.get_layer("bn").trainable = False
    copy = exact(model)
    assert not copy.get_layer("bn").trainable
    assert [w.path for w in copy.trainable_weights] == [w.path for w in model.trainable_weights]
    np.testing.assert_allclose(
        copy(images(), training=True), model(images(), training=True), rtol=1e-4, atol=1e-5
    )
    assert "bn" in [x.name for x in inexact_layers(model)]


def test_a_converted_model_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((4,))
    copy = exact(keras.Model(inputs, layers.BatchNormalization()(layers.Dense(3)(inputs))))
    copy.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(np.ones((2, 4))), copy(np.ones((2, 4))))
    assert inexact_layers(loaded) == []


def sequential(*stack, shape=IMAGES):
    return keras.Sequential([keras.Input(shape), *stack])


def conv():
    return layers.Conv2D(2, 3)


class Block(layers.Layer):
    """A layer whose code calls a stock layer."""

    def __init__(self):
        super().__init__(name="block")
        self.normalization = layers.BatchNormalization(name="inside")

    def call(self, inputs):
        return self.normalization(inputs)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.block = layers.BatchNormalization(name="own")

    def call(self, inputs):
        return self.block(inputs)


UNCONVERTIBLE = {
    "axis=1 for inputs with 4 axes": [layers.BatchNormalization(axis=1, name="at_fault")],
    "renorm=True": [layers.BatchNormalization(renorm=True, name="at_fault")],
    "synchronized=True": [layers.BatchNormalization(synchronized=True, name="at_fault")],
    "gamma_regularizer=": [layers.BatchNormalization(gamma_regularizer="l2", name="at_fault")],
    "axis=[1, 2, 3] for inputs": [layers.LayerNormalization(axis=(1, 2, 3), name="at_fault")],
    "axis=1 for inputs": [layers.GroupNormalization(1, axis=1, name="at_fault")],
    "singular vectors as constants": [layers.SpectralNormalization(conv(), name="at_fault")],
    "UpSampling2D(interpolation='nearest')": [
        conv(),
        layers.UpSampling2D(interpolation="bilinear", name="at_fault"),
    ],
    "resample before any layer with weights": [conv(), layers.Resizing(8, 8, name="at_fault")],
    "1 + keras.ops.abs(x)": [layers.Dense(2, activation="softsign", name="at_fault")],
    "called by the code of Block": [Block()],
}


@pytest.mark.parametrize(("message", "stack"), UNCONVERTIBLE.items(), ids=list(UNCONVERTIBLE))
def test_refusals_name_layer_and_reason(message, stack):
    model = sequential(*stack)
    name = "block/inside" if isinstance(stack[0], Block) else "at_fault"
    with pytest.raises(ValueError, match=f"The layer '{name}'") as refusal:
        exact(model)
    assert message in str(refusal.value)
    with pytest.raises(ValueError, match=f"of the layer '{name}'"):
        check_exact(model)


def test_masked_batch_normalisation_is_refused():
    embedding = layers.Embedding(5, 3, mask_zero=True)
    with pytest.raises(ValueError, match="inputs with a Keras mask"):
        exact(sequential(embedding, layers.BatchNormalization(), shape=(4,)))


def test_a_subclassed_model_is_refused():
    model = Subclassed()
    model(images())
    with pytest.raises(ValueError, match="'subclassed' is not functional or sequential"):
        exact(model)
    assert [x.name for x in inexact_layers(model)] == ["subclassed/own"]


def test_an_operation_of_the_graph_is_found():
    inputs = keras.Input(IMAGES)
    features = conv()(inputs)
    _, variance = ops.moments(features, axes=[1, 2])
    (found,) = inexact_layers(keras.Model(inputs, variance))
    assert "mean of squared differences" in found.remedy


def test_exact_layers_are_let_pass():
    model = sequential(
        layers.Resizing(8, 8),
        layers.RandomRotation(0.1),
        conv(),
        layers.UpSampling2D(),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
        layers.LeakyReLU(),
        layers.Flatten(),
        layers.Dense(2, activation="gelu"),
    )
    assert inexact_layers(model) == []


def stock_backbone():
    stack = [conv(), layers.BatchNormalization(name="stock"), layers.ReLU()]
    model = sequential(*stack, shape=(8, 8, 1))
    return keras.Model(model.inputs[0], model.outputs[0])


def test_second_order_learners_refuse_an_unconverted_backbone():
    message = r"layer 'stock' \(BatchNormalization\).*kfsl.networks.exact"
    with pytest.raises(ValueError, match=message):
        MAML(stock_backbone(), ways=2)
    MAML(exact(stock_backbone()), ways=2)
    MAML(stock_backbone(), ways=2, first_order=True)
    MAML(stock_backbone(), ways=2, require_exact=False)


def test_kfsl_backbones_are_exact():
    assert inexact_layers(Conv4(image_shape=(16, 16, 1), filters=2)) == []
