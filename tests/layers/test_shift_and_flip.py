"""Shifts and mirror images, found again among all that there can be."""

import keras
import numpy as np
import pytest

from kfsl.layers.shift_and_flip import ShiftAndFlip

SIZE, PIXELS = 10, 2


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(1.0, 2.0, (64, SIZE, SIZE, 3)).astype("float32")


def shifted(image, down, right):
    padded = np.pad(image, ((PIXELS, PIXELS), (PIXELS, PIXELS), (0, 0)))
    top, left = PIXELS - down, PIXELS - right
    return padded[top : top + SIZE, left : left + SIZE]


def found(image, result):
    """The shift and whether it was mirrored; None if it is neither."""
    for down in range(-PIXELS, PIXELS + 1):
        for right in range(-PIXELS, PIXELS + 1):
            candidate = shifted(image, down, right)
            for mirrored, other in ((False, candidate), (True, candidate[:, ::-1])):
                if np.array_equal(other, result):
                    return down, right, mirrored
    return None


def test_every_image_has_a_shift_of_its_own_by_whole_pixels(images):
    results = np.asarray(ShiftAndFlip(PIXELS, seed=1)(images, training=True))
    cases = [found(image, result) for image, result in zip(images, results, strict=True)]
    assert None not in cases
    assert len({(down, right) for down, right, _ in cases}) > 10
    assert 16 < sum(mirrored for *_, mirrored in cases) < 48


def test_each_can_be_left_out(images):
    np.testing.assert_array_equal(ShiftAndFlip(0, flip=False)(images, training=True), images)
    only_shifted = np.asarray(ShiftAndFlip(PIXELS, flip=False, seed=1)(images, training=True))
    assert not any(found(*pair)[2] for pair in zip(images, only_shifted, strict=True))


def test_outside_training_pixels_stay_as_they_are():
    pixels = np.arange(2 * SIZE * SIZE, dtype="uint8").reshape(2, SIZE, SIZE, 1)
    found = ShiftAndFlip(PIXELS)(pixels)
    np.testing.assert_array_equal(found, pixels)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"


def test_config():
    layer = ShiftAndFlip(3, flip=False, seed=4)
    again = ShiftAndFlip.from_config(layer.get_config())
    assert (again.pixels, again.flip, again.seed) == (3, False, 4)


@pytest.mark.parametrize(
    ("pixels", "message"), [(-1, "received pixels=-1"), (SIZE, "known size above pixels=10")]
)
def test_what_is_refused(images, pixels, message):
    with pytest.raises(ValueError, match=message):
        ShiftAndFlip(pixels)(images)
