"""The user's own division of classes is honoured or refused, never guessed away."""

import pytest

from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import write_tree


@pytest.mark.parametrize(
    "names", [("Train", "Val", "TEST"), ("training", "dev", "Testing"), ("train", "Valid", "test")]
)
def test_other_letters_and_words_divide_too(run_folder, stores, tmp_path, names):
    train, val, test = names
    write_tree(tmp_path / "images", [f"{train}/a", f"{train}/b", f"{val}/c", f"{test}/d"])
    assert run_folder()[0] == 0
    dataset = load_dataset("pets", data_dir=stores)
    found = {split: dataset.split(split).class_names for split in dataset.splits}
    assert found == {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


@pytest.mark.parametrize("options", [(), ("--split_ratio=0.5,0.5",)])
@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "test/b", "unlabelled/c"), "has test/ and unlabelled/: is it divided or not"),
        (("Train/a", "Test/b", "extra"), "has Test/ and extra/: is it divided or not"),
        (("train_images/a", "test_images/b"), "has test_images/: is it divided or not"),
        (("TrainSet/a", "TestSet/b"), "has TestSet/: is it divided or not"),
        (("train_images", "test_images"), "has test_images/: is it divided or not"),
        (("a/train", "a/test", "b/train", "b/test"), "a holds test/, train/: that divides the im"),
    ],
)
def test_half_a_division_is_refused(run_folder, stores, tmp_path, folders, message, options):
    write_tree(tmp_path / "images", list(folders))
    code, out, error = run_folder(*options)
    assert (code, out) == (2, "")
    assert message in error
    assert list(stores.iterdir()) == []


def test_a_folder_of_images_in_each_class_is_no_class(run_folder, stores, tmp_path):
    """As Tiny ImageNet is unpacked, whose val/ and test/ have no classes."""
    classes = ["train/n01/images", "train/n02/images", "val/n03/Images", "test/n04/images"]
    write_tree(tmp_path / "images", classes)
    assert run_folder()[0] == 0
    data = load_dataset("pets", data_dir=stores)
    assert data.split("train").class_names == ("n01", "n02")
    assert data.split("val").class_names == ("n03",)
    assert data.store.superclass_names == ("all",)


@pytest.mark.parametrize("options", [(), ("--split_ratio=0.5,0.5",)])
def test_images_of_all_classes_in_one_folder_are_no_class(run_folder, stores, tmp_path, options):
    write_tree(tmp_path / "images", ["train/n01/images", "train/n02/images", "val/images"])
    code, _, error = run_folder(*options)
    assert code == 2
    assert "val/images holds images of all classes, and nothing says of which each is" in error
    assert list(stores.iterdir()) == []


def test_a_class_may_be_called_train(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["bus", "train", "tram", "test_tube"])
    assert run_folder("--split_ratio=0.5,0.5")[0] == 0
    names = load_dataset("pets", data_dir=stores).store.class_names
    assert names == ("bus", "test_tube", "train", "tram")


def test_a_seed_that_divides_nothing_is_refused(run_folder, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "test/b"])
    code, _, error = run_folder("--split_seed=3")
    assert code == 2
    assert "--split_seed=3 has no effect: the classes are divided by the folders" in error
