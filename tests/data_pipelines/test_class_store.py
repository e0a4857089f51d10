"""Class stores and how their classes are divided."""

import errno
import json
import math
import os
import sys

import numpy as np
import pytest

from data_pipelines.class_store import ClassStore, StoredClass, writable_pages, write_header
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset

SHAPE = (6, 5, 3)
CLASSES = [StoredClass("b", "x", 2), StoredClass("a", "y", 3), StoredClass("c", "x", 1)]


def numbered_images(classes=CLASSES):
    """Images in an order of their own, each filled with 10 * class + position."""
    images = [
        (c, np.full(SHAPE, 10 * c + i, np.uint8))
        for i in range(max(entry.count for entry in classes))
        for c, entry in enumerate(classes)
        if i < entry.count
    ]
    return images


@pytest.fixture
def store(tmp_path):
    write_class_store(tmp_path / "s", CLASSES, numbered_images(), SHAPE, {"name": "s"})
    return ClassStore.open(tmp_path / "s")


def test_images_lie_sorted_by_class_in_order_of_arrival(store):
    assert store.images.dtype == np.uint8
    assert store.images.shape == (6, *SHAPE)
    assert store.images[:, 0, 0, 0].tolist() == [0, 1, 10, 11, 12, 20]
    assert store.offsets.tolist() == [0, 2, 5]
    assert store.counts.tolist() == [2, 3, 1]
    assert store.class_names == ("b", "a", "c")
    assert store.superclass_names == ("x", "y")
    assert store.class_superclasses.tolist() == [0, 1, 0]
    assert store.image_shape == SHAPE
    assert store.rotations == 1
    assert (store.class_images(1)[:, 0, 0, 0] == [10, 11, 12]).all()


def test_images_are_mapped_and_read_only(store):
    assert isinstance(store.images, np.memmap)
    assert not store.images.flags.writeable


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory there is")
def test_a_store_may_be_larger_than_the_memory(tmp_path):
    """Pages are set aside for none of it, and written to for none."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = 1024 * int(file.readline().split()[1])
    shape = (2 * memory // (84 * 84 * 3), 84, 84, 3)
    path = tmp_path / "images.npy"
    with open(path, "wb") as file:
        write_header(file, shape)
        file.truncate(file.tell() + math.prod(shape))  # A hole: nothing is stored.
    pages = writable_pages(path)
    assert pages.nbytes > memory
    assert pages[-1].max() == 0
    pages[0] = 1
    assert writable_pages(path)[0].max() == 0, "what is written is not kept"


def test_fingerprint_depends_on_pixels_and_names(store, tmp_path):
    assert store.compute_fingerprint() == store.fingerprint
    changed = numbered_images()
    changed[3] = (changed[3][0], changed[3][1] + 1)
    renamed = [CLASSES[0]._replace(name="z"), *CLASSES[1:]]
    regrouped = [CLASSES[0]._replace(superclass="y"), *CLASSES[1:]]
    prints = [
        write_class_store(tmp_path / "1", CLASSES, changed, SHAPE),
        write_class_store(tmp_path / "2", renamed, numbered_images(), SHAPE),
        write_class_store(tmp_path / "3", regrouped, numbered_images(), SHAPE),
        store.fingerprint,
    ]
    assert len(set(prints)) == 4
    assert write_class_store(tmp_path / "4", CLASSES, numbered_images(), SHAPE) == prints[3]


def test_changed_pixels_do_not_pass_the_fingerprint(store):
    with open(store.path / "images.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert store.compute_fingerprint() != store.fingerprint


def test_tensor_shares_the_pixels(store):
    tensor = store.tensor()
    assert tensor.dtype == "uint8"
    np.testing.assert_array_equal(tensor.numpy(), store.images)


@pytest.mark.parametrize(
    ("classes", "images", "message"),
    [
        (CLASSES, numbered_images()[:-1], "got 2 images, announced 3"),
        (CLASSES, [*numbered_images(), (0, np.zeros(SHAPE, np.uint8))], "more than the 2"),
        (CLASSES, [(0, np.zeros((5, 6, 3), np.uint8))], r"uint8 \(5, 6, 3\), expected uint8"),
        (CLASSES, [(0, np.zeros(SHAPE, np.float32))], "float32"),
        ([CLASSES[0], CLASSES[0]], [], "'b' occurs twice"),
        ([StoredClass("b", "x", 0)], [], "has 0 images"),
        ([], [], "at least one class"),
    ],
)
def test_refused_images_leave_nothing(tmp_path, classes, images, message):
    with pytest.raises(ValueError, match=message):
        write_class_store(tmp_path / "s", classes, images, SHAPE)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        write_class_store(tmp_path / "s", CLASSES, numbered_images(), SHAPE)
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_overwritten(store):
    with pytest.raises(FileExistsError):
        write_class_store(store.path, CLASSES, numbered_images(), SHAPE)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("store.json", lambda file: file.write_text("{"), "damaged"),
        ("classes.npy", lambda file: _rewritten(file, lambda a: a[:-1]), "2 records"),
        ("classes.npy", lambda file: _rewritten(file, lambda a: a["count"]), "records of int64"),
        ("classes.npy", lambda file: _rewritten(file, _one_image_more), "damaged: images"),
        ("names.npy", lambda file: _rewritten(file, lambda a: a[:-1]), "2 bytes"),
        ("names.npy", os.remove, "damaged.*names.npy"),
        ("names.npy", lambda file: file.write_bytes(b""), "damaged"),
        ("images.npy", lambda file: file.write_bytes(b""), "damaged"),
    ],
)
def test_damaged_stores_are_named(store, name, damage, message):
    damage(store.path / name)
    with pytest.raises(ValueError, match=message) as error:
        ClassStore.open(store.path)
    assert "prepare the dataset again" in str(error.value)


def _rewritten(file, change):
    np.save(file, change(np.load(file)))


def _one_image_more(records):
    records["count"][0] += 1
    return records


def test_stores_of_other_releases_are_named_or_opened(store):
    description = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps({**description, "format_version": 99}))
    with pytest.raises(ValueError, match="version 99; this release reads versions 1 and 2"):
        ClassStore.open(store.path)
    with pytest.raises(FileNotFoundError, match="No class store"):
        ClassStore.open(store.path / "nothing")


def test_a_store_that_lists_its_classes_opens_as_ever(store):
    """Format version 1, as the first releases wrote it."""
    description = {
        "format_version": 1,
        "class_names": ["b", "a", "c"],
        "superclass_names": ["x", "y"],
        "class_superclasses": [0, 1, 0],
        "counts": [2, 3, 1],
        "metadata": {"name": "s", "image_shape": list(SHAPE), "splits": {"train": ["b", "c"]}},
        "fingerprint": store.fingerprint,
    }
    for name in ("classes.npy", "names.npy"):
        os.remove(store.path / name)
    (store.path / "store.json").write_text(json.dumps(description))
    listed = ClassStore.open(store.path)
    assert listed.class_names == store.class_names == ("b", "a", "c")
    for name in ("counts", "offsets", "class_superclasses"):
        np.testing.assert_array_equal(getattr(listed, name), getattr(store, name))
    assert listed.metadata["splits"] == {"train": ["b", "c"]}
    assert listed.compute_fingerprint() == store.fingerprint
    description["counts"] = [2, 3]
    (store.path / "store.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="damaged"):
        ClassStore.open(store.path)


def test_lists_of_classes_are_kept_with_the_classes(tmp_path):
    lists = {"train": ["c", "b"], "test": ["a"]}
    write_class_store(tmp_path / "s", CLASSES, numbered_images(), SHAPE, {"splits": lists})
    assert '"c"' not in (tmp_path / "s" / "store.json").read_text()
    found = ClassStore.open(tmp_path / "s").metadata["splits"]
    assert found == {"train": ["b", "c"], "test": ["a"]}  # in the order of the store
    assert found["train"].rows.tolist() == [0, 2]


@pytest.mark.parametrize("lists", [{"train": ["b", "z"]}, {"train": ["b"], "test": ["b", "a"]}])
def test_lists_that_do_not_fit_stay_as_they_are(tmp_path, lists):
    write_class_store(tmp_path / "s", CLASSES, numbered_images(), SHAPE, {"splits": lists})
    assert ClassStore.open(tmp_path / "s").metadata["splits"] == lists


def test_split_of_a_dataset(store):
    dataset = FewShotDataset("s", store, {"train": [2, 0], "test": [1]})
    train = dataset.split("train")
    assert train.class_names == ("b", "c")
    assert train.counts.tolist() == [2, 1]
    assert train.offsets.tolist() == [0, 5]
    assert train.superclasses.tolist() == [0, 0]
    assert train.superclass_names == ("x",)
    assert (train.num_classes, train.num_superclasses, train.num_images) == (2, 1, 3)
    # Dense within the split, although the store calls it superclass 1.
    assert dataset.split("test").superclasses.tolist() == [0]
    assert dataset.split("test").superclass_names == ("y",)
    with pytest.raises(ValueError, match=r"no split 'val'; it has train, test.*held_out"):
        dataset.split("val")


def test_fingerprint_depends_on_the_division(store):
    one = FewShotDataset("s", store, {"train": [0, 1], "test": [2]})
    same = FewShotDataset("s", store, {"test": [2], "train": [1, 0]})
    other = FewShotDataset("s", store, {"train": [0, 2], "test": [1]})
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [0, 1], "test": [1]}, "'a' of s is in split 'train' and again in split 'test'"),
        ({"train": [0, 0]}, "again"),
        ({"train": [3]}, "classes 0 to 2"),
        ({"train": [-1]}, "classes 0 to 2"),
        ({"train": []}, "has no class"),
    ],
)
def test_wrong_divisions_are_refused(store, splits, message):
    with pytest.raises(ValueError, match=message):
        FewShotDataset("s", store, splits)


def test_rotations_stay_together(tmp_path):
    classes = [StoredClass(f"c/rot{90 * turns}", "x", 1) for turns in range(4)] * 1
    images = [(i, np.zeros(SHAPE, np.uint8)) for i in range(4)]
    write_class_store(tmp_path / "s", classes, images, SHAPE, {"rotations": 4})
    store = ClassStore.open(tmp_path / "s")
    assert FewShotDataset("s", store, {"train": range(4)}).split("train").rotations == 4
    with pytest.raises(ValueError, match="divides the 4 rotations"):
        FewShotDataset("s", store, {"train": [0, 1], "test": [2, 3]})
