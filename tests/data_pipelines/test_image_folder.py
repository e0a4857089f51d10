"""The user's own folders of images."""

import json

import numpy as np
import pytest

from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image, write_tree

CLASSES = [f"class{i}" for i in range(8)]


def test_image_folder_by_ratio(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    code, out, _ = run_folder("--split_ratio=0.5,0.25,0.25", "--split_seed=3")
    assert code == 0
    assert "pets: 8 classes in 1 superclasses, 24 images of 8x8x3" in out
    dataset = load_dataset("pets", data_dir=stores)
    assert {name: len(part) for name, part in dataset.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert dataset.store.class_names == tuple(CLASSES)
    assert first_pixels(dataset.store).tolist() == [10 * c + i for c in range(8) for i in range(3)]
    redrawn = load_dataset("pets", data_dir=stores, split_seed=1)
    assert redrawn.fingerprint != dataset.fingerprint
    assert load_dataset("pets", data_dir=stores, split_seed=3).fingerprint == dataset.fingerprint
    (tmp_path / "split.json").write_text(json.dumps({"train": CLASSES[:4], "test": CLASSES[4:]}))
    file = str(tmp_path / "split.json")
    with pytest.raises(ValueError, match=r"split_seed=1 has no effect: .* divided by .*split.json"):
        load_dataset("pets", file, stores, split_seed=1)
    with pytest.raises(ValueError, match=r"held_out_seed = 1 has no effect: no classes"):
        load_dataset("pets", file, stores, held_out_seed=1)


def test_a_second_call_verifies(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    assert run_folder()[0] == 0
    before = (stores / "pets" / "images.npy").stat().st_mtime_ns
    code, out, _ = run_folder()
    assert code == 0
    assert "Was there already, verified." in out
    assert (stores / "pets" / "images.npy").stat().st_mtime_ns == before
    code, _, error = run_folder("--split_ratio=0.5,0.5")
    assert code == 2
    assert "prepared from other images or options" in error
    write_image(tmp_path / "images" / "class0" / "new.png", 1)
    assert "other images" in run_folder()[2]
    with open(stores / "pets" / "images.npy", "r+b") as file:
        file.seek(200)
        file.write(b"\xee")
    code, _, error = run_folder()
    assert code == 2
    assert "is damaged" in error


def test_image_folder_with_superclasses_and_split_files(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["cats/lion", "cats/lynx", "dogs/wolf", "dogs/fox"])
    lists = {"train": ["lion", "dogs/wolf"], "test": ["cats/lynx"]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    assert run_folder(f"--split_file={tmp_path / 'split.json'}")[0] == 0
    dataset = load_dataset("pets", data_dir=stores)
    assert dataset.split("train").class_names == ("cats/lion", "dogs/wolf")
    assert dataset.split("train").superclass_names == ("cats", "dogs")
    assert list(dataset.splits) == ["train", "test"]
    (tmp_path / "other.csv").write_text("class,split\nfox,train\nlion,test\n")
    other = load_dataset("pets", split=str(tmp_path / "other.csv"), data_dir=stores)
    assert other.split("train").class_names == ("dogs/fox",)
    assert other.split("test").class_names == ("cats/lion",)


def test_a_store_that_nothing_divides(tmp_path):
    path = tmp_path / "pets"
    images = [(i, np.zeros((8, 8, 1), "uint8")) for i in range(2)]
    classes = [StoredClass(name, "all", 1) for name in ("cat", "dog")]
    write_class_store(path, classes, images, image_shape=(8, 8, 1), metadata={"name": "pets"})
    with pytest.raises(ValueError, match=r"pets has no lists of classes\. Name a JSON or CSV"):
        load_dataset("pets", data_dir=tmp_path)
    (tmp_path / "lists.json").write_text('{"train": ["cat"], "test": ["dog"]}')
    dataset = load_dataset("pets", split=str(tmp_path / "lists.json"), data_dir=tmp_path)
    assert dataset.split("test").class_names == ("dog",)


def test_marks_of_spreadsheets_are_no_part_of_a_table(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["lion", "lynx"])
    (tmp_path / "a.csv").write_text("class,split\nlion,train\nlynx,test\n", encoding="utf-8-sig")
    lists = json.dumps({"train": ["lion"], "test": ["lynx"]})
    (tmp_path / "a.json").write_text(lists, encoding="utf-8-sig")
    for name in ("a.csv", "a.json"):
        code, _, error = run_folder(f"--split_file={tmp_path / name}", f"--name={name}")
        assert code == 0, error
        assert load_dataset(name, data_dir=stores).split("train").class_names == ("lion",)
    (tmp_path / "a.csv").write_text("class,split\nlion,train\nlynx,test\n", encoding="utf-16")
    assert "Cannot read the table" in run_folder(f"--split_file={tmp_path / 'a.csv'}")[2]
    (tmp_path / "a.csv").write_text("class,split\nlion,train\nlynx\n")
    assert "Line 3 of" in run_folder(f"--split_file={tmp_path / 'a.csv'}")[2]


def test_image_folder_with_split_folders(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "train/b", "valid/c", "test/d"])
    assert run_folder()[0] == 0
    dataset = load_dataset("pets", data_dir=stores)
    names = {split: dataset.split(split).class_names for split in dataset.splits}
    assert names == {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


def test_the_same_classes_in_train_and_test_are_merged_when_asked(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "train/b", "test/a", "test/b"])
    code, _, error = run_folder()
    assert code == 2
    assert "Class 'a' lies under train/ and under another split" in error
    assert run_folder("--split_ratio=0.5,0.5")[0] == 0
    assert load_dataset("pets", data_dir=stores).store.counts.tolist() == [6, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split_ratio=0.5,0.6"], "with sum 1"),
        (["--split_ratio=0.5,x"], "with sum 1"),
        (["--split_ratio=0.98,0.01,0.01"], "8 classes are too few"),
        (["--split_ratio=0.5,0.5", "--split_file=x.json"], "exclude each other"),
        (["--split_file=nothing.json"], "nothing.json does not exist"),
        (["--image_size=0"], "--image_size=0, expected"),
        (["--image_size=8x8x8"], "--image_size=8x8x8, expected"),
        (["--channels=2"], "expected 3"),
        (["--min_images_per_class=4"], "'class0' has 3 images, --min_images_per_class=4"),
        (["--name=omniglot"], "is the name of a known dataset"),
        (["--name=sinusoids"], "is the name of drawn functions"),
        (["--name=a/b"], "plain folder name"),
        (["--colour=3"], "Unknown command line flag 'colour'"),
        (["surplus"], "Unexpected argument 'surplus'"),
        (["--dataset=birds"], "Unknown dataset 'birds'; known are glyphs"),
        (["--dataset=glyphs"], "--name is for --dataset=image_folder and mixture only"),
        (["--source=/nowhere"], "--source=/nowhere does not exist"),
    ],
)
def test_mistakes_end_in_one_line(run_folder, stores, tmp_path, arguments, message):
    write_tree(tmp_path / "images", CLASSES)
    code, out, error = run_folder(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("kfsl prepare: ")
    assert message in error
    assert list(stores.iterdir()) == []


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["class0"], "test": ["class0"]}, "in the split train and again in test"),
        ({"train": ["class0"], "tset": ["class1"]}, "names the split 'tset'"),
        ({"train": ["class9"]}, "'class9', which the folder lacks"),
        ({"test": ["class0"]}, "train has no class"),
        ({"train": "class0"}, "must hold"),
    ],
)
def test_wrong_split_files_are_named(run_folder, stores, tmp_path, lists, message):
    write_tree(tmp_path / "images", CLASSES)
    (tmp_path / "split.json").write_text(json.dumps(lists))
    code, _, error = run_folder(f"--split_file={tmp_path / 'split.json'}")
    assert code == 2
    assert message in error
    assert list(stores.iterdir()) == []


def test_wrong_folders_are_named(run, stores, tmp_path):
    def prepare_folder(name):
        code, _, error = run("--dataset=image_folder", f"--source={tmp_path / name}")
        assert code == 2
        return error

    write_image(tmp_path / "flat" / "a.png", 0)
    assert "has no folders; expected <class>/*" in prepare_folder("flat")
    write_tree(tmp_path / "mixed", ["a", "a/b"])
    assert "both images and folders" in prepare_folder("mixed")
    write_tree(tmp_path / "hollow", ["a"])
    (tmp_path / "hollow" / "b").mkdir()
    assert "b has no images" in prepare_folder("hollow")
    assert "is not a folder" in prepare_folder("flat/a.png")
    assert list(stores.iterdir()) == []
