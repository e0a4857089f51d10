"""What lies beside an export reads folders as the commands do."""

import importlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from data_pipelines.datasets.image_files import read_image
from tests.support.formats import needs
from tests.support.odd_metadata import ODD, odd_exif

MODULES = ["kfsl.serving.example"] + [
    pytest.param(f"kfsl.serving.example_of_{name}", marks=needs(name))
    for name in ("onnx", "litert")
]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, "uint8")).save(path)


@pytest.mark.parametrize("module", MODULES)
def test_what_systems_leave_behind_is_no_image_and_no_class(module, tmp_path):
    support, queries = tmp_path / "support", tmp_path / "queries"
    for number, name in enumerate(("b/1.png", "a/2.PNG", "a/1.png")):
        write(support / name, 10 * number)
    write(queries / "q.png", 200)
    write(support / ".ipynb_checkpoints/1-checkpoint.png", 99)
    (support / "empty").mkdir()
    for hidden in (support / "a/._1.png", support / "__MACOSX/._1.png", queries / "._q.png"):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"no image")
    read_task = importlib.import_module(module).read_task
    images, labels, asked, names = read_task(str(support), str(queries), [4, 4, 1])
    assert names == ["a", "b"]
    np.testing.assert_array_equal(labels, [0, 0, 1])
    np.testing.assert_array_equal(images[:, 0, 0, 0], [20, 10, 0])
    np.testing.assert_array_equal(asked, np.full((1, 4, 4, 1), 200))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white(module, channels, tmp_path):
    pixels = np.zeros((4, 4, 4), "uint8")
    pixels[:2, ..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "icon.png")
    found = importlib.import_module(module).read_image(tmp_path / "icon.png", [4, 4, channels])
    np.testing.assert_array_equal(found, read_image(tmp_path / "icon.png", (4, 4, channels)))
    assert (found[:2].max(), found[2:].min()) == (0, 255)


@pytest.mark.parametrize("module", MODULES[1:])
def test_photographs_are_turned_as_the_camera_says(module, tmp_path):
    image = Image.fromarray(np.arange(0, 240, 10, "uint8").reshape(4, 6))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "photograph.jpg", exif=exif, quality=100)
    found = importlib.import_module(module).read_image(tmp_path / "photograph.jpg", [6, 4, 1])
    np.testing.assert_array_equal(found, read_image(tmp_path / "photograph.jpg", (6, 4, 1)))
    assert found[0, 0, 0] > found[0, -1, 0] + 100


@pytest.mark.parametrize("module", MODULES[1:])
@pytest.mark.parametrize("kind", ODD)
def test_of_odd_metadata_the_orientation_alone_is_read(module, kind, tmp_path):
    image = Image.fromarray(np.arange(0, 240, 10, "uint8").reshape(4, 6))
    image.save(tmp_path / "photograph.png", exif=odd_exif(*ODD[kind]))
    found = importlib.import_module(module).read_image(tmp_path / "photograph.png", [6, 4, 1])
    np.testing.assert_array_equal(found[..., 0], np.rot90(np.asarray(image), -1))
