"""Reading Omniglot from folders and from TFDS."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import omniglot


@pytest.fixture
def small_omniglot(monkeypatch):
    """Omniglot of three characters; every other rule of the reader holds."""
    names = ["Greek/character01", "Greek/character02", "Latin/character01"]
    monkeypatch.setattr(omniglot, "characters", lambda: names)
    info = replace(omniglot.INFO, num_classes=12, num_images=240)
    monkeypatch.setattr(omniglot, "INFO", info)
    return names


def write_drawings(root, names, size=105):
    for c, name in enumerate(names):
        for i in range(20):
            image = np.full((size, size), 255, np.uint8)
            image[: size // 2, : size // 2] = 10 * c + i  # ink in the upper left corner
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / name / f"{i:02d}.png")


@pytest.mark.parametrize("size", [28, 105])
def test_omniglot_folders(run, stores, tmp_path, small_omniglot, size):
    root = tmp_path / "tree"
    write_drawings(root / "images_background", small_omniglot[:2], size)
    write_drawings(root / "images_evaluation", small_omniglot[2:], size)
    code, out, error = run("--dataset=omniglot", f"--source={root}")
    assert code == 0, error
    assert "12 classes in 2 superclasses, 240 images of 28x28x1" in out
    store = ClassStore.open(stores / "omniglot")
    assert store.rotations == 4
    assert store.counts.tolist() == [20] * 12
    assert store.class_names[4:8] == tuple(
        f"Greek/character02/rot{angle}" for angle in (0, 90, 180, 270)
    )
    # The corner with ink goes round against the clock.
    for turns, (row, column) in enumerate([(3, 3), (24, 3), (24, 24), (3, 24)]):
        images = store.class_images(4 + turns)[..., 0]
        assert images[:, row, column].tolist() == [10 + i for i in range(20)]
        assert (images[:, 27 - row, 27 - column] == 255).all()
        np.testing.assert_array_equal(images[5], np.rot90(store.class_images(4)[5, ..., 0], turns))


def test_omniglot_counts_are_verified(run, stores, tmp_path, small_omniglot):
    root = tmp_path / "tree"
    write_drawings(root, small_omniglot[:2])
    assert "lacks 1 of the 1,623 characters" in run("--dataset=omniglot", f"--source={root}")[2]
    write_drawings(root, small_omniglot)
    (root / small_omniglot[1] / "00.png").unlink()
    code, _, error = run("--dataset=omniglot", f"--source={root}")
    assert code == 2
    assert "character02 has 19 drawings, expected 20" in error
    assert list(stores.iterdir()) == []


def test_omniglot_from_tfds(small_omniglot, monkeypatch, tmp_path):
    """TFDS gives alphabets as labels, characters counted from 0, 105x105 in three channels."""

    class Builder:
        class info:  # noqa: N801
            full_name = "omniglot/3.0.0"
            features = {"alphabet": type("Label", (), {"names": ["Greek", "Latin"]})}

    def examples(builder, part):
        for i in range(20):
            if part == "train":
                yield {"alphabet": 0, "alphabet_char_id": 1, "image": image(100 + i)}
                yield {"alphabet": 0, "alphabet_char_id": 0, "image": image(i)}
            else:
                yield {"alphabet": 1, "alphabet_char_id": 0, "image": image(200 + i)}

    def image(value):
        return np.full((105, 105, 3), value, np.uint8)

    monkeypatch.setattr(omniglot, "stock_builder", lambda name, host: Builder)
    monkeypatch.setattr(omniglot, "read_tfds", examples)
    reader = omniglot.reader(None, tmp_path)
    found = {}
    for index, pixels in reader.images():
        found.setdefault(index, []).append(pixels[0, 0, 0])
    assert found == {
        4 * c + t: [100 * c + i for i in range(20)] for c in range(3) for t in range(4)
    }
