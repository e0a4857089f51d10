"""Generator and cross-modulation of one block."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.cross_modulation import CrossModulation
from kfsl.layers.film_generator import FiLMGenerator

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 3)).astype("float32")
MAPS = RNG.normal(size=(1, 1, 5, 6, 4, 3)).astype("float32")
OTHERS = RNG.normal(size=(1, 7, 1, 6, 4, 3)).astype("float32")


def with_random_weights(layer, seed=1):
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_the_generator_is_a_dense_layer_of_both_vectors_joined():
    generator = FiLMGenerator("relu")
    generator(X, Y)
    kernel, bias = with_random_weights(generator).get_weights()
    assert kernel.shape == (6, 6)
    gamma, beta = generator(X, Y)
    expected = np.maximum(np.concatenate([X, Y], axis=-1), 0) @ kernel + bias
    np.testing.assert_allclose(np.concatenate([gamma, beta], axis=-1), expected, rtol=1e-5)
    for rows, half in zip(generator.kernel_rows(), (kernel[:3], kernel[3:]), strict=True):
        np.testing.assert_array_equal(rows, half)


def test_pairs_are_not_repeated():
    generator = FiLMGenerator("relu")
    pairs = generator(X[None], Y[:, None])
    with_random_weights(generator)
    pairs = generator(X[None], Y[:, None])
    for query in range(4):
        alone = generator(X, np.broadcast_to(Y[query], X.shape))
        for values, expected in zip(pairs, alone, strict=True):
            np.testing.assert_allclose(values[query], expected, rtol=1e-5, atol=1e-6)


def test_the_generator_does_not_commute_unless_its_halves_are_equal():
    generator = FiLMGenerator("relu")
    generator(X, Y)
    with_random_weights(generator)
    assert np.min(np.abs(generator(X, Y)[0] - generator(Y, X)[0])) > 1e-3
    kernel, bias = generator.get_weights()
    generator.set_weights([np.concatenate([kernel[:3], kernel[:3]]), bias])
    for one, other in zip(generator(X, Y), generator(Y, X), strict=True):
        # The two halves are added to the bias in another order, which rounding sees.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_one_vector_alone():
    generator = FiLMGenerator(channels=4)
    gamma, beta = generator(X)
    assert gamma.shape == beta.shape == (4, 4)
    assert generator.count_params() == 3 * 8 + 8
    with pytest.raises(ValueError, match="channels=0"):
        FiLMGenerator(channels=0)


def modulation(**arguments):
    layer = CrossModulation(**arguments)
    layer(MAPS, OTHERS)
    return with_random_weights(layer)


def test_pooling_first_is_pooling_last():
    """Values and gradients, for factors of both signs."""
    layer, pool = modulation(), keras.layers.MaxPooling2D(2)
    layer.film.gamma_scale.assign([-3.0, 3.0, 1.0])

    def pooled_last(maps):
        outputs = layer(maps, OTHERS)
        return tf.reshape(pool(tf.reshape(outputs, (-1, 6, 4, 3))), (1, 7, 5, 3, 2, 3))

    gamma, _ = layer.parameters(MAPS, OTHERS)
    factors = 1 + gamma * layer.film.gamma_scale
    assert np.mean(factors < 0) > 0.1
    assert np.mean(factors > 0) > 0.1
    found = []
    for function in (pooled_last, lambda maps: layer(maps, OTHERS, pools=[pool])):
        with tf.GradientTape() as tape:
            maps = tf.constant(MAPS)
            tape.watch(maps)
            outputs = function(maps)
            loss = tf.reduce_sum(outputs**2)
        found.append([outputs, *tape.gradient(loss, [maps, *layer.trainable_variables])])
    for expected, actual in zip(*found, strict=True):
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(actual, expected, atol=2e-6 * scale)


def test_noise_multiplies_the_modulation_and_nothing_else():
    layer, loud = modulation(), modulation(noise=0.3, noise_seed=3)
    for weight in loud.film.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(loud(MAPS, OTHERS)[0, 2], MAPS[0, 0], rtol=1e-6)
    loud = modulation(noise=0.3, noise_seed=3)
    loud.generator.bias.assign(np.r_[np.zeros(3), np.ones(3)])
    loud.generator.kernel.assign(np.zeros((6, 6)))
    loud.film.set_weights([np.ones(3), np.ones(3)])
    offsets = (loud(MAPS, OTHERS) - MAPS).numpy()
    # One draw for each pair and channel, the same at all locations.
    assert np.max(np.ptp(offsets, axis=(3, 4))) < 1e-6
    drawn = offsets[..., 0, 0, :]
    assert len(np.unique(drawn.round(5))) == drawn.size == 105
    assert abs(drawn.mean() - 1.0) < 0.1
    assert abs(drawn.std() - 0.3) < 0.07
    assert np.max(np.abs(loud(MAPS, OTHERS) - MAPS - offsets)) > 0.1, "drawn anew"
    same = modulation(noise=0.3, noise_seed=3)
    same.set_weights(layer.get_weights())
    again = modulation(noise=0.3, noise_seed=3)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(same(MAPS, OTHERS), again(MAPS, OTHERS))


def test_vectors():
    vectors, others = MAPS[..., 0, 0, :], OTHERS[..., 0, 0, :]
    layer = CrossModulation()
    assert layer(vectors, others).shape == (1, 7, 5, 3)


def test_config_round_trip_and_half_precision():
    arguments = {"noise": 0.1, "noise_seed": 2, "dtype": "mixed_bfloat16", "name": "block"}
    layer = CrossModulation(keras.regularizers.L1(1e-3), **arguments)
    copy = CrossModulation.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy(MAPS, OTHERS).dtype == "bfloat16"
    assert float(sum(copy.losses)) == pytest.approx(6e-3)
    with pytest.raises(ValueError, match="noise=-1"):
        CrossModulation(noise=-1)
