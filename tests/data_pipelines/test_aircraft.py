"""Reading FGVC-Aircraft from its archive's folders."""

from dataclasses import replace

import pytest

from data_pipelines.datasets import aircraft
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Three pictures of each variant, one in each of the authors' lists."""
    monkeypatch.setattr(aircraft, "IMAGES_PER_CLASS", 3)
    monkeypatch.setattr(aircraft, "INFO", replace(aircraft.INFO, num_images=300))
    root = tmp_path / "archive" / "fgvc-aircraft-2013b" / "data"
    for p, part in enumerate(aircraft.PARTS):
        lines = {"variant": [], "manufacturer": []}
        for i, name in enumerate(aircraft.variants()):
            write_image(root / "images" / f"{1000 * p + i:07d}.jpg", 2 * i + p, (90, 70))
            lines["variant"].append(f"{1000 * p + i:07d} {name}")
            lines["manufacturer"].append(f"{1000 * p + i:07d} Maker {i // 4}")
        for kind, found in lines.items():
            (root / f"images_{kind}_{part}.txt").write_text("\n".join(found) + "\n")
    return root


@pytest.mark.parametrize("steps_up", [0, 1, 2])
def test_folders_in_each_layout(run, stores, archive, steps_up):
    source = [archive, *archive.parents][steps_up]
    code, out, error = run("--dataset=aircraft", f"--source={source}")
    assert code == 0, error
    assert "aircraft: 100 classes in 25 superclasses, 300 images of 84x84x3" in out
    dataset = load_dataset("aircraft", "mmaml", data_dir=stores)
    assert first_pixels(dataset.store).tolist() == [2 * i + p for i in range(100) for p in range(3)]
    # The slash in the name loses nothing.
    index = dataset.store.class_names.index("F/A-18")
    assert index in dataset.splits["test"]
    assert len(dataset.store.class_images(index)) == 3


def test_mistakes_are_named(run, stores, archive):
    def error(*arguments):
        code, _, message = run("--dataset=aircraft", *arguments)
        assert code == 2
        assert list(stores.iterdir()) == []
        return message

    assert "give --source=PATH" in error()
    assert "is not laid out as" in error(f"--source={archive / 'images'}")
    source = f"--source={archive}"
    (archive / "images_manufacturer_val.txt").rename(archive / "away")
    assert "has no images_manufacturer_val.txt" in error(source)
    (archive / "images_manufacturer_val.txt").write_text("")
    assert "names no manufacturer of image 0001000" in error(source)
    (archive / "away").rename(archive / "images_manufacturer_val.txt")
    (archive / "images" / "0000000.jpg").rename(archive / "away.jpg")
    assert "lists image 0000000, which" in error(source)
    lists = archive / "images_variant_train.txt"
    whole = lists.read_text()
    lists.write_text(whole.split("\n", 1)[1])
    assert "Variant '707-320' has 2 images" in error(source)
    lists.write_text("0000001 Zeppelin\n" + whole)
    assert "'Zeppelin', which is no variant" in error(source)
