"""A store passes only for the source that it was made from."""

import json
import shutil
import time

import pytest

from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.source_record import RECORD_FILE, SourceRecord
from tests.support.image_trees import write_image, write_tree

CLASSES = ["a", "b", "c", "d"]


@pytest.fixture
def images(run_folder, tmp_path):
    folder = write_tree(tmp_path / "images", CLASSES)
    assert run_folder("--split_ratio=0.5,0.5")[0] == 0
    return folder


def exchange(one, other):
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


CHANGES = {
    "2 files have another content (a/00.png)": lambda f: exchange(f / "a/00.png", f / "b/01.png"),
    "1 file is missing (a/00.png); 1 file is new (a/03.png)": lambda f: (f / "a/00.png").rename(
        f / "a/03.png"
    ),
    "1 file has another content (d/02.png)": lambda f: write_image(f / "d/02.png", 200),
}


@pytest.mark.parametrize("words", CHANGES)
def test_what_differs_is_named_and_the_store_kept(run_folder, stores, images, words):
    before = contents(stores / "pets")
    CHANGES[words](images)
    code, out, error = run_folder("--split_ratio=0.5,0.5")
    assert (code, out) == (2, "")
    assert f"pets was prepared from other images or options: {words}. Choose another" in error
    assert contents(stores / "pets") == before


def test_another_source_of_the_same_names_and_counts(run, run_folder, tmp_path, images):
    other = write_tree(tmp_path / "other", CLASSES[::-1])
    arguments = ("--dataset=image_folder", "--name=pets", "--image_size=8", "--split_ratio=0.5,0.5")
    code, _, error = run(*arguments, f"--source={other}")
    assert code == 2
    assert "12 files have another content" in error
    shutil.copytree(images, tmp_path / "copy")
    code, out, _ = run(*arguments, f"--source={tmp_path / 'copy'}")
    assert code == 0
    assert "Was there already, verified.\n" in out
    code, out, _ = run(*arguments)
    assert code == 0
    assert "verified. No --source was named to compare it with." in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image_size=9", "--split_ratio=0.5,0.5"), "its images are 8x8x3, not 9x9x3. Ch"),
        (("--split_ratio=0.25,0.75",), "the classes are divided otherwise. Ch"),
    ],
)
def test_other_options_are_named(run_folder, images, options, words):
    code, _, error = run_folder(*options)
    assert code == 2
    assert words in error


def test_a_store_without_a_record_opens_and_says_what_is_not_known(run_folder, stores, images):
    (stores / "pets" / RECORD_FILE).unlink()
    code, out, _ = run_folder("--split_ratio=0.5,0.5")
    assert code == 0
    assert "verified" not in out
    assert "kept no record of it" in out
    write_image(images / "a" / "new.png", 7)
    assert "class 'a' had 3 images, it has 4" in run_folder("--split_ratio=0.5,0.5")[2]


def test_a_damaged_record_is_named(run_folder, stores, images):
    (stores / "pets" / RECORD_FILE).write_text("{")
    code, _, error = run_folder("--split_ratio=0.5,0.5")
    assert code == 2
    assert "source.json is damaged" in error


def test_formats_of_the_source_are_recorded(run_folder, stores, images):
    description = json.loads((stores / "pets" / "store.json").read_text())
    assert description["metadata"]["source_formats"] == {"png": 12}


def test_a_file_that_changed_its_class():
    then = SourceRecord({"a": {"1.png": "f0"}, "b": {"2.png": "f1"}})
    now = SourceRecord({"a": {"2.png": "f1"}, "b": {"1.png": "f0"}})
    assert then.differences(now) == ["2 files are of another class (1.png)"]
    assert then.differences(then) == []


def test_many_files_are_read_quickly(tmp_path):
    folder = write_tree(tmp_path / "images", ["a"], count=2000)
    source = ImageSet(folder, {"a": sorted((folder / "a").iterdir())})
    begin = time.process_time()
    assert len(SourceRecord.of(source).files["a"]) == 2000
    # 60,000 in nine seconds of a slow processor; as a rule three.
    assert time.process_time() - begin < 0.3


def test_a_picture_in_two_splits_is_warned_of(run_folder, tmp_path):
    folder = write_tree(tmp_path / "images", ["train/a", "train/b", "test/c"])
    shutil.copy(folder / "train" / "b" / "02.png", folder / "test" / "c" / "01.png")
    shutil.copy(folder / "train" / "b" / "02.png", folder / "train" / "a" / "01.png")
    words = (
        "Warning: the same picture lies in classes of different splits, so what is learnt is "
        "tested on: train/a/01.png (train) = test/c/01.png (test).\n"
    )
    for _ in range(2):
        code, out, _ = run_folder()
        assert code == 0
        assert words in out


def test_a_bar_is_no_part_of_a_log(run_folder, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    assert run_folder("--split_ratio=0.5,0.5")[2] == ""
