"""Images in the forms that people have them in, read as `kfsl.predict` reads files."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines.datasets.image_files import read_image
from kfsl.classifier.image_inputs import ImageInputs

SHAPE = (12, 10, 3)


def colours(height=20, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


def written(folder, image, name, **arguments):
    path = folder / name
    image.save(path, **arguments)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_a_picture_is_read_as_its_file_is(mode, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(colours()[..., 0].astype("uint16") * 200)
    else:
        image = Image.fromarray(colours()).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(colours(seed=1)[..., 0]))
    path = written(tmp_path, image, "image.tif")
    for shape in (SHAPE, (12, 10, 1)):
        expected = read_image(path, shape)
        assert np.ptp(expected) > 30
        for given in ([image], [path]):
            np.testing.assert_array_equal(ImageInputs.of(given).pixels(shape)[0], expected)


def test_the_cameras_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, Image.fromarray(colours()), "turned.png", exif=exif)
    with Image.open(path) as opened:
        found = ImageInputs.of([opened]).pixels((16, 20, 3))[0]
    np.testing.assert_array_equal(found, read_image(path, (16, 20, 3)))
    assert not np.array_equal(found, ImageInputs.of([colours()]).pixels((16, 20, 3))[0])


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays(channels):
    array = colours()[..., 0] if channels is None else colours()
    if channels in (1, 4):
        array = np.concatenate([array, colours(seed=1)[..., :1]], -1)[..., :channels]
    given = array[None]
    if channels is None:
        image = Image.fromarray(array)
    else:
        image = Image.fromarray(array[..., 0] if channels == 1 else array)
    expected = ImageInputs.of([image]).pixels(SHAPE)
    np.testing.assert_array_equal(ImageInputs.of(given).pixels(SHAPE), expected)


def test_booleans_are_black_and_white():
    pixels = ImageInputs.of(np.array([[[True, False]]])).pixels((1, 2, 1))
    assert pixels.ravel().tolist() == [255, 0]


def test_deep_images_of_one_call_are_scaled_alike():
    dark, bright = np.full((4, 4), 1000, "uint16"), np.full((4, 4), 4000, "uint16")
    pixels = ImageInputs.of([dark, bright]).pixels((1, 1, 1)).ravel().tolist()
    assert pixels == [62, 249]
    assert ImageInputs.of([dark]).pixels((1, 1, 1)).ravel().tolist() == [249]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((9, 9, 3), "uint8"), r"Is the array of shape \(9, 9, 3\) one image, or many"),
        (np.zeros((9, 9), "uint8"), r"received an array of the shape \(9, 9\)"),
        (np.zeros((2, 9, 9, 2), "uint8"), r"1, 3 or 4 channels; image 0 has the shape \(9, 9, 2\)"),
        (Image.new("L", (2, 2)), r"one picture: give a list of them, \[picture\]"),
        ([], "Received no image"),
        (np.zeros((0, 5, 5), "uint8"), "Received no image"),
        ([np.zeros((0, 4), "uint8")], r"Image 0 is empty: it has the shape \(0, 4\)"),
        ([3], r"image 0 is int of the shape \(\)"),
        ([np.zeros((4, 4), complex)], r"image 0 is ndarray of the shape \(4, 4\)"),
        (np.full((1, 5, 5), 1e6), "Cannot read image 0: its values go from 0 to 1e"),
        (np.full((1, 5, 5), -3), "Cannot read image 0: its values go from -3 to 0"),
        (np.full((1, 5, 5), np.nan), "Cannot read image 0: its values go from nan to nan"),
    ],
)
def test_what_is_no_image(images, message):
    with pytest.raises(ValueError, match=message):
        ImageInputs.of(images).pixels(SHAPE)


@pytest.mark.parametrize(
    ("low", "high"), [(-3.0, 258.0), (0.0, 258.0), (-1.0, 255.0), (-20.0, 65535.0)]
)
def test_floats_of_two_ranges_do_not_become_black(low, high):
    images = np.stack([np.full((5, 5), low), np.full((5, 5), high)])
    with pytest.raises(ValueError, match=r"Cannot read image \d: its values go from"):
        ImageInputs.of(images).pixels(SHAPE)


def test_what_is_no_sequence(tmp_path):
    with pytest.raises(ValueError, match=r"Images are a folder, paths, .*; received generator"):
        ImageInputs.of(tmp_path.glob("*.jpg"))


def test_a_cut_picture_is_named(tmp_path):
    path = written(tmp_path, Image.fromarray(colours(200, 200)), "cut.jpg")
    path.write_bytes(path.read_bytes()[:-2000])
    with (
        Image.open(path) as opened,
        pytest.raises(ValueError, match=r"Cannot read image 1: .*trunc"),
    ):
        ImageInputs.of([colours(), opened]).pixels(SHAPE)


def test_files_that_are_missing_or_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"The image '.*no.png' does not exist"):
        ImageInputs.of([tmp_path / "no.png"])
    with pytest.raises(FileNotFoundError, match=r"The image '.*' is a folder"):
        ImageInputs.of([tmp_path])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"Cannot read the image .*text.png"):
        ImageInputs.of([tmp_path / "text.png"]).pixels(SHAPE)
