"""Raw pixels for networks that were trained elsewhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.network_pixels import NetworkPixels


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), "uint8")


def test_pixels_stay_where_nothing_is_asked(colour):
    prepared = NetworkPixels()(colour)
    assert prepared.dtype == "float32"
    np.testing.assert_array_equal(prepared, colour.astype("float32"))


def test_grey_is_three_times_the_same(colour):
    prepared = NetworkPixels()(colour[..., :1])
    np.testing.assert_array_equal(prepared, np.repeat(colour[..., :1], 3, -1).astype("float32"))


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({"scale": 1 / 128, "offset": -127 / 128}, lambda x: (x - 127.0) / 128.0),
        ({"scale": (1, 2, 3), "offset": 5}, lambda x: x * [1, 2, 3] + 5.0),
        ("mobilenet_v2", lambda x: x / 127.5 - 1.0),
        ("resnet50", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_each_scaling_is_its_formula(colour, scaling, expected):
    prepared = NetworkPixels(scaling=scaling)(colour)
    np.testing.assert_allclose(prepared, expected(colour.astype("float64")), atol=1e-4)


def test_images_are_resized_bilinearly_and_shrunk_by_all_their_pixels():
    checks = np.indices((1, 16, 16, 1)).sum(0).astype("uint8") % 2 * 200
    assert NetworkPixels(image_size=32)(checks).shape == (1, 32, 32, 3)
    shrunk = NetworkPixels(image_size=(4, 4))(checks)
    np.testing.assert_allclose(shrunk[:, 1:3, 1:3], 100.0, atol=8.0)


def test_half_precision_is_of_the_result_alone(colour):
    layer = NetworkPixels(scaling={"scale": 1 / 128, "offset": 0}, dtype="mixed_bfloat16")
    expected = (colour / 128.0).astype("float32")
    prepared = layer(colour)
    assert prepared.dtype == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(prepared, "float32"), expected, rtol=2**-8)


def test_config_round_trip(colour):
    layer = NetworkPixels(image_size=(6, 8), scaling={"scale": (1, 2, 3), "offset": 0.5})
    copy = NetworkPixels.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(colour), layer(colour))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": 0}, "positive int, two of them, or None; received 0"),
        ({"image_size": (1, 2, 3)}, "image_size"),
        ({"scaling": "nonesuch"}, "received 'nonesuch'"),
        ({"scaling": {"scale": 1}}, "a dict with 'scale' and 'offset'"),
        ({"scaling": {"scale": (1, 2), "offset": 0}}, "one number, or three"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        NetworkPixels(**arguments)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="must be grey or RGB"):
        NetworkPixels()(np.zeros((1, 4, 4, 2), "uint8"))


@pytest.mark.parametrize("size", [(5, 7), (12, 10), (31, 8), (40, 64)])
def test_of_unknown_sizes_it_gives_what_it_gives_of_known_ones(size):
    layer = NetworkPixels(image_size=(12, 10), scaling={"scale": 0.1, "offset": -1.0})
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype("uint8")
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), "uint8")])
    np.testing.assert_allclose(traced(images), layer(images), atol=1e-4)
