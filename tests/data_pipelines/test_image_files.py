"""Reading image files of any kind into one shape."""

import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_files import check_headers, is_blank, read_image
from tests.support.odd_metadata import ODD, odd_exif

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


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", ODD)
def test_of_odd_metadata_the_orientation_alone_is_read(tmp_path, kind, ending):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))
    image.save(tmp_path / f"turned.{ending}", exif=odd_exif(*ODD[kind]))
    pixels = read_image(tmp_path / f"turned.{ending}", (16, 8, 1))[..., 0]
    assert (pixels[:7] < 40).all()
    assert (pixels[9:] > 215).all()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0", b"Exif\0\0nonsense", odd_exif((0x0112, 2, 4, 54))]
)
def test_metadata_that_cannot_be_read_have_no_orientation(tmp_path, exif):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))
    image.save(tmp_path / "plain.png", exif=exif)
    assert (read_image(tmp_path / "plain.png", (8, 16, 1))[:, :8] == 0).all()


def test_tiff_files_with_odd_metadata_are_read(tmp_path):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))
    image.save(tmp_path / "plain.tif", tiffinfo={700: 5})
    content = (tmp_path / "plain.tif").read_bytes()
    # XMP as a number instead of text.
    at = content.index(struct.pack("<H", 700))
    number = struct.pack("<HHII", 700, 4, 1, 5)
    (tmp_path / "plain.tif").write_bytes(content[:at] + number + content[at + 12 :])
    assert (read_image(tmp_path / "plain.tif", (8, 16, 1))[:, :8] == 0).all()


def test_whatever_is_raised_while_reading_names_the_file(tmp_path, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "sound.png")

    def broken(self):
        raise AttributeError("'NoneType' object has no attribute 'read'")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", broken)
    with pytest.raises(ValueError, match=r"Cannot read the image .*sound\.png: 'NoneType' object"):
        read_image(tmp_path / "sound.png", SHAPE)


def save(file, *pixels, kind):
    Image.fromarray(np.array([[*pixels]], kind)).save(file)
    return file


@pytest.mark.parametrize(
    ("kind", "sets", "expected"),
    [
        # Twelve bits in sixteen; the dark picture is scaled as the bright one is.
        ("uint16", ([0, 2048, 4095], [0, 10, 20]), ([0, 128, 255], [0, 1, 1])),
        ("uint16", ([0, 65535, 300], [0, 4095, 20]), ([0, 255, 1], [0, 16, 0])),
        ("uint16", ([0, 100, 255], [7, 8, 9]), ([0, 100, 255], [7, 8, 9])),
        ("int32", ([0, 1000, 1023], [0, 1, 4]), ([0, 249, 255], [0, 0, 1])),
        ("float32", ([0, 0.5, 1], [0, 0.1, 0.2]), ([0, 128, 255], [0, 26, 51])),
        ("float32", ([-1, 0, 1], [0, 0.1, 0.2]), ([0, 128, 255], [128, 140, 153])),
        ("float32", ([0, 65535, 300], [0, 1, 0.5]), ([0, 255, 1], [0, 0, 0])),
        ("float32", ([0, 128, 255], [0, 1, 0.5]), ([0, 128, 255], [0, 1, 0])),
    ],
)
def test_deep_images_of_a_set_are_scaled_alike(tmp_path, kind, sets, expected):
    files = [save(tmp_path / f"{i}.tif", *row, kind=kind) for i, row in enumerate(sets)]
    values = check_headers(files).values
    for file, row in zip(files, expected, strict=True):
        assert read_image(file, (1, 3, 1), values).ravel().tolist() == row


@pytest.mark.parametrize(
    ("kind", "pixels", "message"),
    [
        ("int32", [-5, 0], "its values go from -5 to 0, expected integers from 0"),
        ("int32", [0, 70000], "its values reach 70000, expected integers of at most 16 bits"),
        ("float32", [-1000, 400], "its values go from -1000 to 400, expected floats within"),
        ("float32", [0, np.nan], "its values go from nan to nan, expected floats within"),
        ("float32", [0, np.inf], "its values go from 0 to inf, expected floats within"),
    ],
)
def test_values_of_no_usual_range_are_refused(tmp_path, kind, pixels, message):
    file = save(tmp_path / "odd.tif", *pixels, kind=kind)
    with pytest.raises(ValueError, match=rf"Cannot read the image .*odd\.tif: {message}"):
        check_headers([file])


def test_blank_images_are_told_from_drawings():
    drawing = np.full((28, 28, 1), 255, "uint8")
    assert is_blank(drawing)
    # A dot of Braille is no blank picture.
    drawing[4, 4:6] = 0
    assert not is_blank(drawing)
    assert not is_blank(255 - drawing)
    assert is_blank(np.arange(17, dtype="uint8"))
    assert not is_blank(np.arange(18, dtype="uint8"))
    assert is_blank(np.array([0] * 999 + [255], "uint8"))


def test_prepare_names_blank_images_and_the_range(run_folder, tmp_path):
    folder = tmp_path / "images"
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            pixels = random.integers(0, 4096, (8, 8)).astype("uint16")
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    code, out, _ = run_folder("--split_ratio=0.5,0.5")
    assert code == 0
    assert "Images of integers were scaled from 0..4095 to 0..255." in out
    assert "Warning" not in out
    Image.fromarray(pixels // 100).save(folder / "b" / "2.png")
    out = run_folder("--split_ratio=0.5,0.5", "--name=others")[1]
    assert "Warning: Hardly anything can be seen in these images" in out
    assert "have one value: b/2.png. Look" in out


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
