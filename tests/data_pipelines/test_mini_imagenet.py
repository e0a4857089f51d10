"""Reading miniImageNet in its three layouts."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.datasets import mini_imagenet
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image


@pytest.fixture(scope="module")
def mini_tree(tmp_path_factory):
    """miniImageNet's 100 classes with two images each, in class folders."""
    root = tmp_path_factory.mktemp("mini")
    wnids = sorted(name for names in mini_imagenet.split_lists().values() for name in names)
    for c, wnid in enumerate(wnids):
        for i in range(2):
            write_image(root / "flat" / wnid / f"{wnid}0000000{i}.png", 2 * c + i, (84, 84))
    for split, names in mini_imagenet.split_lists().items():
        (root / "divided" / split).mkdir(parents=True)
        (root / "table" / "images").mkdir(parents=True, exist_ok=True)
        lines = ["filename,label"]
        for wnid in names:
            (root / "divided" / split / wnid).symlink_to(root / "flat" / wnid)
            for file in sorted((root / "flat" / wnid).iterdir()):
                (root / "table" / "images" / file.name).symlink_to(file)
                lines.append(f"{file.name},{wnid}")
        # As a spreadsheet saves it, with a byte order mark.
        (root / "table" / f"{split}.csv").write_text("\n".join(lines) + "\n", "utf-8-sig")
    return root


@pytest.fixture
def small_mini(monkeypatch):
    monkeypatch.setattr(mini_imagenet, "IMAGES_PER_CLASS", 2)
    monkeypatch.setattr(mini_imagenet, "INFO", replace(mini_imagenet.INFO, num_images=200))


@pytest.mark.parametrize("layout", ["divided", "table"])
def test_mini_imagenet_layouts_agree(mini_tree, layout):
    flat = mini_imagenet.find_files(mini_tree / "flat")
    found = mini_imagenet.find_files(mini_tree / layout)
    assert len(flat) == 100
    assert {wnid: [file.resolve() for file in files] for wnid, files in found.items()} == flat


def test_mini_imagenet_goes_through_tfds(run, stores, mini_tree, small_mini):
    code, out, error = run("--dataset=mini_imagenet", f"--source={mini_tree / 'table'}")
    assert code == 0, error
    assert "100 classes in 1 superclasses, 200 images of 84x84x3" in out
    dataset = load_dataset("mini_imagenet", data_dir=stores)
    assert {name: len(part) for name, part in dataset.splits.items()} == {
        "train": 64,
        "val": 16,
        "test": 20,
    }
    assert sorted(first_pixels(dataset.store).tolist()) == list(range(200))
    values = first_pixels(dataset.store).reshape(100, 2)
    np.testing.assert_array_equal(np.sort(values), np.arange(200).reshape(100, 2))
    assert dataset.store.class_names == tuple(sorted(dataset.store.class_names))
    assert list((stores / "mini_imagenet" / "tfds").rglob("*.tfrecord*"))


def test_mini_imagenet_counts_are_verified(run, stores, mini_tree, small_mini, tmp_path):
    code, _, error = run("--dataset=mini_imagenet", f"--source={mini_tree}")
    assert code == 2
    assert "lacks 100 of the 100 classes" in error
    table = tmp_path / "table"
    table.mkdir()
    (table / "images").symlink_to(mini_tree / "table" / "images")
    for split in ("train", "val", "test"):
        lines = (mini_tree / "table" / f"{split}.csv").read_text().splitlines()
        (table / f"{split}.csv").write_text("\n".join(lines if split != "test" else lines[:-1]))
    error = run("--dataset=mini_imagenet", f"--source={table}")[2]
    assert "has 1 images" in error
    assert "expected 2" in error
    (table / "val.csv").write_text("filename,label\nnowhere.jpg,n01855672\n")
    assert "lists nowhere.jpg" in run("--dataset=mini_imagenet", f"--source={table}")[2]
    (table / "val.csv").write_text("file,class\n")
    assert "expected filename,label" in run("--dataset=mini_imagenet", f"--source={table}")[2]
    assert list(stores.iterdir()) == []
