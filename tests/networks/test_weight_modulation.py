"""Networks whose weights a task's embedding modulates, beside networks modulated by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.layers.film_scope import film_scope
from kfsl.layers.normalization import BatchNormalization
from kfsl.networks.replaced_weights import all_variables, call_with, starting_weights
from kfsl.networks.weight_modulation import GENERATORS, WeightModulation

EMBEDDING = np.random.default_rng(5).normal(size=6).astype("float32")


def backbone(**arguments):
    keras.utils.set_random_seed(0)
    return Conv4((8, 8, 1), filters=4, num_pools=2, **arguments)


def images(channels=1):
    return np.random.default_rng(0).random((3, 8, 8, channels)).astype("float32")


def modulated_outputs(network, modulation, training=False, inputs=None):
    own = starting_weights(all_variables(network))
    replaced = modulation.weights(tf.constant(EMBEDDING), own)
    with film_scope(modulation.films(tf.constant(EMBEDDING))):
        return call_with(network, replaced, images() if inputs is None else inputs, training)[0]


@pytest.mark.parametrize("generator", GENERATORS)
def test_generators_of_zero_leave_the_network_as_it_is_to_the_bit(generator):
    network = backbone()
    modulation = WeightModulation(network, generator, size=6)
    assert np.any(modulated_outputs(network, modulation) != network(images()))
    for made in modulation.generators:
        for weight in made.weights:
            weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(modulated_outputs(network, modulation), network(images()))


@pytest.mark.parametrize("generator", ["factorised", "full"])
def test_kernels_and_biases_of_convolutions_are_modulated(generator):
    network = backbone()
    modulation = WeightModulation(network, generator, size=6)
    copy = backbone()
    copy.set_weights(network.get_weights())
    layers = [layer for layer in copy.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, made in zip(layers, modulation.generators, strict=True):
        factors, offsets = made(EMBEDDING)
        layer.kernel.assign(layer.kernel * factors)
        layer.bias.assign(layer.bias + offsets)
    np.testing.assert_allclose(
        modulated_outputs(network, modulation), copy(images()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "parts",
    [{}, {"bn_scale": False}, {"bn_center": False}, {"bn_scale": False, "bn_center": False}],
    ids=lambda parts: "_".join(parts) or "both",
)
def test_film_acts_behind_batch_normalisation(parts):
    network = backbone(**parts)
    modulation = WeightModulation(network, "film", size=6)
    x = images()
    generators = iter(modulation.generators)
    for layer in network.layers[1:]:
        x = layer(x)
        if "bn" in layer.name:
            gamma, beta = next(generators)(EMBEDDING)
            x = (1.0 + gamma) * x + beta
    np.testing.assert_allclose(modulated_outputs(network, modulation), x, rtol=1e-4, atol=1e-5)


def test_film_without_normalisation_acts_on_the_convolution():
    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(3, 3, bias_initializer="ones")
    network = keras.Model(inputs, conv(inputs))
    modulation = WeightModulation(network, "film", size=6)
    gamma, beta = modulation.generators[0](EMBEDDING)
    expected = (1.0 + gamma) * network(images()) + beta
    np.testing.assert_allclose(
        modulated_outputs(network, modulation), expected, rtol=1e-4, atol=1e-5
    )


def test_dense_layers_by_choice():
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(),
         keras.layers.Dense(3)]
    )  # fmt: skip
    assert len(WeightModulation(network, "factorised", 6).generators) == 1
    modulation = WeightModulation(network, "factorised", 6, dense=True)
    assert len(modulation.generators) == 2
    assert modulation.generators[1].sizes == (3, 72, 3)


def test_convolutions_without_biases_and_shortcuts():
    """ResNet-12 has neither biases nor a single path."""
    network = ResNet12((16, 16, 3), filters=(4, 4, 8, 8))
    kernels = WeightModulation(network, "factorised", size=6)
    assert len(kernels.generators) == 16
    assert all(each.offset_at is None for each in kernels.modulated)
    film = WeightModulation(network, "film", size=6)
    assert len(film.generators) == 16
    assert all(each.offset_at is not None for each in film.modulated)


@pytest.mark.parametrize("generator", ["factorised", "full", "film"])
def test_depthwise_convolutions(generator):
    """A factor for each output: channel by channel, and for each of a channel's multiples."""
    inputs = keras.Input((8, 8, 2))
    depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="ones")
    network = keras.Model(inputs, depthwise(inputs))
    modulation = WeightModulation(network, generator, size=6)
    (made,) = modulation.generators
    factors, offsets = made(EMBEDDING)
    if generator == "film":
        expected = (1.0 + factors) * network(images(2)) + offsets
    else:
        copy = keras.models.clone_model(network)
        kernel = depthwise.kernel * tf.reshape(factors, (3, 3, 2, 2))
        copy.set_weights([kernel, depthwise.bias + offsets])
        expected = copy(images(2))
    found = modulated_outputs(network, modulation, inputs=images(2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_frozen_network_is_modulated_and_stays_as_it_is(generator):
    network, frozen = backbone(), backbone()
    frozen.set_weights(network.get_weights())
    frozen.trainable = False
    modulation = WeightModulation(network, generator, size=6)
    of_frozen = WeightModulation(frozen, generator, size=6)
    for made, other in zip(of_frozen.generators, modulation.generators, strict=True):
        made.set_weights(other.get_weights())
    expected = modulated_outputs(network, modulation)
    np.testing.assert_array_equal(modulated_outputs(frozen, of_frozen), expected)
    own = starting_weights(all_variables(frozen))
    replaced = of_frozen.weights(tf.constant(EMBEDDING), own)
    _, after = call_with(frozen, replaced, images(), training=False)
    for weight, value in zip(frozen.non_trainable_variables, after, strict=True):
        np.testing.assert_array_equal(value, weight)


def test_a_layer_that_is_called_twice_is_modulated_once():
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same")
    network = keras.Model(inputs, conv(conv(inputs)))
    for generator in GENERATORS:
        modulation = WeightModulation(network, generator, size=6)
        assert len(modulation.generators) == 1
    gamma, beta = WeightModulation(network, "film", size=6).generators[0](EMBEDDING)
    assert gamma.shape == beta.shape == (3,)


def test_a_normalisation_behind_two_layers_is_modulated_once():
    inputs = keras.Input((8, 8, 1))
    layers = [keras.layers.Conv2D(3, 3), keras.layers.Conv2D(3, 3)]
    shared = BatchNormalization(name="shared")
    network = keras.Model(inputs, [shared(layer(inputs)) for layer in layers])
    modulation = WeightModulation(network, "film", size=6)
    (made,) = modulation.generators
    gamma, beta = made(EMBEDDING)
    expected = [(1.0 + gamma) * maps + beta for maps in network(images())]
    for found, wanted in zip(modulated_outputs(network, modulation), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("generator", GENERATORS)
def test_without_residual_the_factors_are_what_is_generated(generator):
    network = backbone()
    residual = WeightModulation(network, generator, size=6)
    plain = WeightModulation(network, generator, size=6, residual=False)
    for made, other in zip(plain.generators, residual.generators, strict=True):
        made.set_weights(other.get_weights())
    ones = [tf.ones(variable.shape) for variable in all_variables(network)]
    found, wanted = (each.weights(tf.constant(EMBEDDING), ones) for each in (plain, residual))
    for each in plain.modulated:
        factors = found[each.factor_at]
        np.testing.assert_allclose(1.0 + factors, wanted[each.factor_at], atol=1e-5)
        assert np.abs(factors).max() > 1e-2


def test_convolutions_of_nested_models():
    inner = backbone()
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1), inner])
    modulation = WeightModulation(network, "factorised", size=6)
    assert len(modulation.generators) == 1 + 4
    alone = keras.Sequential([keras.Input((8, 8, 1)), inner])
    assert len(WeightModulation(alone, "film", size=6).generators) == 4


def test_a_dense_layers_kernel_is_modulated():
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(),
         keras.layers.Dense(3)]
    )  # fmt: skip
    modulation = WeightModulation(network, "factorised", size=6, dense=True)
    (conv, dense), (first, second) = (network.layers[0], network.layers[-1]), modulation.generators
    expected = network(images())
    maps = tf.nn.conv2d(images(), conv.kernel * first(EMBEDDING)[0], 1, "VALID")
    maps = tf.reshape(maps + conv.bias + first(EMBEDDING)[1], (3, -1))
    factors, offsets = second(EMBEDDING)
    expected = maps @ (dense.kernel * factors) + dense.bias + offsets
    np.testing.assert_allclose(
        modulated_outputs(network, modulation), expected, rtol=1e-4, atol=1e-5
    )


def test_counts_are_the_papers():
    network = Conv4((84, 84, 3), filters=(32, 64, 128, 256), num_pools=0, strides=2)
    counts = {
        generator: sum(
            made.count_params() for made in WeightModulation(network, generator, 128).generators
        )
        for generator in GENERATORS
    }
    assert counts == {"film": 123_840, "factorised": 329_595, "full": 388_416 * 129}


@pytest.mark.parametrize(
    ("make", "generator", "message"),
    [
        (backbone, "gru", r"`generator` must be one of"),
        (lambda: backbone(bn_scale=False, normalization="stock"), "film", "'block1_bn' lacks one"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]),
            "film",
            "no convolution to modulate",
        ),
        (
            lambda: keras.Sequential(
                [
                    keras.Input((8, 8, 1)),
                    keras.layers.Conv2D(2, 3),
                    keras.layers.SeparableConv2D(2, 3, name="apart"),
                ]
            ),
            "factorised",
            r"has 'apart' \(SeparableConv2D\) too. Take another backbone",
        ),
    ],
)
def test_refusals(make, generator, message):
    with pytest.raises(ValueError, match=message):
        WeightModulation(make(), generator, size=6)
