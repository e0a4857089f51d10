"""The vector of a task: a mean over images, whatever their order."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.layers.task_encoder import TaskEncoder


def encoder(**arguments):
    keras.utils.set_random_seed(0)
    return TaskEncoder(Conv4((8, 8, 1), filters=4, num_pools=2), size=6, **arguments)


def images(count=5, seed=0):
    return np.random.default_rng(seed).random((count, 8, 8, 1)).astype("float32")


def test_written_out():
    made = encoder()
    maps = np.asarray(made.network(images()))
    hidden = maps.mean((1, 2)) @ made.dense.kernel.numpy() + made.dense.bias.numpy()
    np.testing.assert_allclose(made(images()), np.maximum(hidden, 0).mean(0), rtol=1e-5, atol=1e-6)


def test_counts_are_the_papers():
    network = Conv4((84, 84, 3), filters=(32, 64, 128, 256), num_pools=0, strides=2)
    assert network.count_params() - network_averages(network) == 389_376
    assert network.output_shape == (None, 6, 6, 256)
    made = TaskEncoder(network)
    assert sum(int(np.prod(w.shape)) for w in made.trainable_weights) == 422_272


def network_averages(network):
    return sum(int(np.prod(w.shape)) for w in network.non_trainable_weights)


def test_neither_order_nor_repetition_nor_padding_matters():
    made, x = encoder(), images()
    expected = made(x)
    np.testing.assert_allclose(made(x[::-1]), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(made(np.repeat(x, 3, axis=0)), expected, rtol=1e-5, atol=1e-7)
    padded = np.concatenate([x, images(2, seed=1)])
    mask = np.array([True] * 5 + [False] * 2)
    np.testing.assert_allclose(made(padded, mask), expected, rtol=1e-5, atol=1e-7)


def test_networks_that_give_vectors_will_do():
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    assert TaskEncoder(network, size=3)(images()).shape == (3,)


def test_config_round_trip():
    made = encoder()
    copy = TaskEncoder.from_config(made.get_config())
    copy.set_weights(made.get_weights())
    np.testing.assert_array_equal(copy(images()), made(images()))


def test_a_size_of_none_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1; received size=0"):
        TaskEncoder(Conv4((8, 8, 1), filters=4, num_pools=2), size=0)
