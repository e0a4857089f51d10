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
