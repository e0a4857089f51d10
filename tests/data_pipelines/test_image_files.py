"""Reading image files of any kind into one shape."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_files import check_headers, read_image

SHAPE = (8, 8, 3)


def test_grey_colour_and_palette(tmp_path):
    for mode in ("RGB", "P", "CMYK"):
        file = tmp_path / f"{mode}.tif"
        Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode).save(file)
        assert read_image(file, SHAPE)[3, 3].tolist() == [255, 0, 0], mode
    for mode in ("L", "1", "P"):
        file = tmp_path / f"{mode}.png"
        Image.new("L", (8, 8), 255).convert(mode).save(file)
        assert read_image(file, SHAPE)[3, 3].tolist() == [255, 255, 255], mode
        assert read_image(file, (8, 8, 1)).shape == (8, 8, 1)


def test_transparency_lies_over_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", SHAPE) == 255).all()
    Image.new("LA", (8, 8), (0, 128)).save(tmp_path / "half.png")
    assert (read_image(tmp_path / "half.png", (8, 8, 1)) == 127).all()
    palette = Image.new("RGB", (8, 8), (255, 0, 0)).convert("P")
    palette.save(tmp_path / "index.png", transparency=palette.getpixel((0, 0)))
    assert (read_image(tmp_path / "index.png", SHAPE) == 255).all()


def test_sixteen_bit_and_float_grey(tmp_path):
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    expected = np.rint(ramp / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "ramp.png", (8, 8, 1))[..., 0], expected)
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "ramp.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "ramp.tif", (8, 8, 1))[..., 0], expected)


def test_camera_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = read_image(tmp_path / "turned.png", (16, 8, 1))[..., 0]
    assert (pixels[:8] == 0).all()
    assert (pixels[8:] == 255).all()


def test_other_sizes_are_antialiased(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (84, 42))
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    pixels = read_image(tmp_path / "stripes.png", (28, 12, 1))
    assert pixels.shape == (28, 12, 1)
    # Without a filter one column in seven would be taken as it is, 0 or 255.
    assert np.abs(pixels.astype(int) - 127).max() < 25


def test_broken_files_are_named(tmp_path):
    good = tmp_path / "good.jpg"
    Image.effect_noise((64, 64), 50).save(good)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:900])
    text = tmp_path / "text.png"
    text.write_text("no image")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"Cannot read the image .*cut\.jpg"):
        read_image(cut, SHAPE)
    for name in ("text.png", "empty.png"):
        with pytest.raises(ValueError, match=rf"{name}: it is no image"):
            check_headers([good, tmp_path / name])
    check_headers([good, cut])


def test_only_images_are_listed(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "Thumbs.db", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in list_images(tmp_path)] == ["a.JPG", "b.png", "c.webp"]
    assert list_images(tmp_path / "nothing", missing_ok=True) == []
