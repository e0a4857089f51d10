"""A stream of implants beside a frozen network: what it sees, what it leaves alone."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.networks.implants import ImplantedNetwork
from tests.support.contract import generic

SEED = np.array([3, 5])


def small(**arguments):
    keras.utils.set_random_seed(0)
    backbone = generic(ResNet12((16, 16, 1), filters=(3, 4, 4, 6)))
    return backbone, ImplantedNetwork(backbone, **{"after": "block3_pool", **arguments})


def images(number=3):
    return np.random.default_rng(0).normal(size=(number, 16, 16, 1)).astype("float32")


def embedded(network, implants, inputs):
    return np.asarray(network.embed(network.see(network.trunk(inputs)), list(implants.values())))


def count(implants, part):
    return sum(int(np.prod(value.shape)) for key, value in implants.items() if part in key)


def test_counts_of_the_papers_network():
    network = ImplantedNetwork(ResNet12((84, 84, 3)), after="block3_pool")
    implants = network.start(SEED)
    assert network.embed(network.see(np.zeros((1, 10, 10, 256), "float32")), list(
        implants.values()
    )).shape == (1, 5, 5, 528)  # fmt: skip
    kernels = {key: value for key, value in implants.items() if key.endswith("kernel")}
    assert count(kernels, "shortcut") == 256 * 16
    assert count(kernels, "") - count(kernels, "shortcut") == 188_928
    assert [value.shape[2] for key, value in kernels.items() if "shortcut" not in key] == [
        256, 528, 528,
    ]  # fmt: skip


def test_the_backbones_maps_come_first_and_unchanged():
    backbone, network = small(channels=2)
    inputs = images()
    found = embedded(network, network.start(SEED), inputs)
    expected = np.asarray(backbone(inputs, training=False))
    np.testing.assert_array_equal(found[..., :6], expected)
    np.testing.assert_array_equal(network.base_maps(network.trunk(inputs)), expected)
    assert np.abs(found[..., 6:]).max() > 1e-3


def test_implants_of_zeros_add_zeros():
    _, network = small(channels=2)
    zeros = {key: 0.0 * value for key, value in network.start(SEED).items()}
    np.testing.assert_array_equal(embedded(network, zeros, images())[..., 6:], 0.0)


@pytest.mark.parametrize("shortcuts", [True, False])
def test_the_stream_is_that_of_the_figure(shortcuts):
    """Convolution by convolution, written out."""
    backbone, network = small(channels=2, shortcuts=shortcuts)
    inputs = images()
    names = ("block3_pool", "block4_activation1", "block4_activation2")
    taps = keras.Model(backbone.input, [backbone.get_layer(name).output for name in names])
    x, first, second = (np.asarray(tensor) for tensor in taps(inputs, training=False))
    implants = network.start(SEED)
    assert any("shortcut" in key for key in implants) == shortcuts

    def convolved(name, value):
        kernel, bias = (
            implants[f"implant_block4_{name}_conv_{part}"] for part in ("kernel", "bias")
        )
        return np.asarray(keras.ops.conv(value, kernel, padding="same") + bias)

    a = np.asarray(keras.ops.silu(convolved("1", x)))
    b = np.asarray(keras.ops.silu(convolved("2", np.concatenate([first, a], axis=-1))))
    c = convolved("3", np.concatenate([second, b], axis=-1))
    if shortcuts:
        c = c + convolved("shortcut", x)
    expected = keras.ops.max_pool(keras.ops.silu(c), 2)
    found = embedded(network, implants, inputs)[..., 6:]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_beside_a_plain_network_from_any_block_on():
    backbone = generic(Conv4((16, 16, 1), filters=3))
    for after, implanted in (("block3_pool", 1), ("block2_pool", 2), ("block1_pool", 3)):
        network = ImplantedNetwork(backbone, after=after, channels=2)
        assert len(network.keys) == 2 * implanted
        found = embedded(network, network.start(SEED), images())
        np.testing.assert_allclose(found[..., :3], backbone(images(), training=False), rtol=1e-6)
        assert found.shape[-1] == 5


def test_draws_are_those_of_the_seed_and_of_he():
    _, network = small(channels=400)
    one, same, other = (network.start(np.array(seed)) for seed in ([1, 2], [1, 2], [1, 3]))
    for key, value in one.items():
        np.testing.assert_array_equal(value, same[key])
        if key.endswith("kernel"):
            assert np.abs(value - other[key]).max() > 0.1
            fan_in = int(np.prod(value.shape[:3]))
            assert np.std(value) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
            np.testing.assert_allclose(network.start(np.array([1, 2]), gain=0.5)[key], 0.5 * value)
        else:
            np.testing.assert_array_equal(value, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"after": "block9_pool"}, "There is no layer 'block9_pool'"),
        ({"after": "block4_pool"}, "Nothing comes behind 'block4_pool'"),
        ({"after": "block4_activation3"}, "No convolution comes behind 'block4_activation3'"),
        ({"after": "block4_1_conv"}, "more ways than through it"),
        ({"channels": 0}, "received channels=0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_a_layer_that_no_implant_can_lie_beside_is_named():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(2, 3, padding="same", name="first")(inputs)
    x = keras.layers.Conv2D(2, 3, padding="same", name="second")(x)
    x = keras.layers.Softmax(name="odd")(x)
    with pytest.raises(ValueError, match="Implants cannot lie beside 'odd', a Softmax"):
        ImplantedNetwork(keras.Model(inputs, x), after="first")
