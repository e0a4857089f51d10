"""PixelNormalization: raw pixels of any leading shape to floats in the compute dtype."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.pixel_normalization import PixelNormalization

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, size=shape, dtype="uint8")


@pytest.mark.parametrize("shape", [(7, 5, 3), (2, 7, 5, 3), (2, 4, 6, 5, 3)])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(("mean", "std"), [(None, None), (MEAN, STD), (0.5, 0.25)])
def test_values(shape, invert, mean, std):
    images = pixels(*shape)
    unit = images.astype("float64") / 255
    unit = 1 - unit if invert else unit
    expected = (unit - (0 if mean is None else mean)) / (1 if std is None else std)
    outputs = PixelNormalization(invert=invert, mean=mean, std=std)(images)
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_the_ends_of_the_range_are_exact():
    ends = np.array([0, 255], "uint8").reshape(1, 2, 1)
    np.testing.assert_array_equal(np.ravel(PixelNormalization()(ends)), [0.0, 1.0])
    np.testing.assert_array_equal(np.ravel(PixelNormalization(invert=True)(ends)), [1.0, 0.0])


def test_the_scale_is_the_users():
    images = pixels(2, 3, 3, 1).astype("float32") / 255
    np.testing.assert_array_equal(PixelNormalization(scale=1)(images), images)


@pytest.mark.parametrize(
    ("policy", "resolution"), [("mixed_float16", 2.0**-11), ("mixed_bfloat16", 2.0**-8)]
)
def test_mixed_precision_rounds_once(policy, resolution):
    images = pixels(2, 9, 9, 3)
    outputs = PixelNormalization(mean=MEAN, std=STD, dtype=policy)(images)
    exact = PixelNormalization(mean=MEAN, std=STD)(images)
    assert outputs.dtype == keras.DTypePolicy(policy).compute_dtype
    np.testing.assert_allclose(tf.cast(outputs, "float32"), exact, rtol=resolution)


def test_round_trip_in_a_model_of_uint8_images(tmp_path):
    layer = PixelNormalization(scale=0.1, invert=True, mean=np.array(MEAN), std=STD, name="pixels")
    assert PixelNormalization.from_config(layer.get_config()).get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = pixels(2, 5, 6, 3)
    np.testing.assert_array_equal(loaded(images), layer(images))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="std must be positive"):
        PixelNormalization(std=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="one number or one a channel"):
        PixelNormalization(mean=[[0.5]])
    with pytest.raises(ValueError, match="the images have 1 channels"):
        PixelNormalization(mean=MEAN)(pixels(2, 4, 4, 1))


SCALED = {
    "0..1": np.linspace(0, 1, 48),
    "nearly 0..1": np.linspace(0.2, 0.7, 48),
    "-1..1": np.linspace(-1, 1, 48),
    "standardised": np.linspace(-2.1, 2.6, 48),
    "half": np.linspace(0, 1, 48).astype("float16"),
}


def episode_images(values):
    values = np.asarray(values)
    values = values if values.dtype == "float16" else values.astype("float32")
    return values.reshape(1, 4, 4, 3)


@pytest.mark.parametrize("values", SCALED.values(), ids=SCALED)
def test_floats_that_are_scaled_already_are_refused(values):
    images = episode_images(values)
    layer = PixelNormalization(mean=MEAN, std=STD)
    for given in (images, tf.constant(images)):
        with pytest.raises(ValueError, match=r"Pixels from 0 to 255 .*received float\d+ from"):
            layer(given)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Pixels from 0 to 255 are expected"):
        tf.function(layer)(tf.constant(images))


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 255, 48),
        np.linspace(-3, 257, 48),  # As interpolation overshoots.
        np.linspace(0, 1.5, 48),
        np.zeros(48),
        np.full(48, np.nan),
        np.linspace(0, 1, 48).round().astype("uint8"),
        np.linspace(0, 1, 48).round().astype("int32"),
    ],
    ids=["raw", "overshooting", "dark", "black", "NaN", "uint8", "int32"],
)
def test_raw_pixels_are_taken_as_they_were(values):
    images = episode_images(values)
    if np.asarray(values).dtype.kind in "iu":
        images = np.asarray(values).reshape(images.shape)
    expected = np.float32(images) / np.float32(255)
    for call in (PixelNormalization(), tf.function(PixelNormalization())):
        np.testing.assert_allclose(call(tf.constant(images)), expected, atol=1e-6)


def test_no_image_at_all_is_taken():
    assert PixelNormalization()(np.zeros((0, 4, 4, 3), "float32")).shape == (0, 4, 4, 3)


def test_what_is_scaled_for_another_white_is_judged_by_that():
    # 16 bits: what would be raw pixels of 8 bits is taken; 0..1 is not.
    layer = PixelNormalization(scale=1 / 65535)
    images = episode_images(np.linspace(0, 255, 48))
    np.testing.assert_allclose(layer(images), images / 65535, rtol=1e-5)
    with pytest.raises(ValueError, match="Pixels from 0 to 65535"):
        layer(images / 255)
