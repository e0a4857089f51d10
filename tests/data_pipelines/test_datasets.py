"""Class lists of the datasets, and `load_dataset`."""

import collections
import itertools
import os
import re
import sys

import numpy as np
import pytest

from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets import (
    aircraft,
    cifar100,
    cifar_fs,
    cub,
    fc100,
    glyphs,
    meta_cifar100,
    mini_imagenet,
    omniglot,
)
from data_pipelines.datasets.class_lists import read_class_lists
from data_pipelines.load_dataset import DATASETS, NAMED, dataset_module, load_dataset

LISTS = [
    (glyphs, None, (904, 226, 283)),
    (mini_imagenet, None, (64, 16, 20)),
    (cifar_fs, None, (64, 16, 20)),
    (fc100, None, (60, 20, 20)),
    (meta_cifar100, "easy", (80, 20)),
    (meta_cifar100, "moderate", (80, 20)),
    (meta_cifar100, "hard", (80, 20)),
    (omniglot, "vinyals", (1028, 172, 423)),
    (omniglot, "mixed", (1100, 100, 423)),
    (omniglot, "santoro", (1200, 423)),
    (omniglot, "crossmod", (1000, 200, 423)),
    (cub, None, (140, 30, 30)),
    (cub, "torchmeta", (100, 50, 50)),
    (cub, "mmaml", (140, 30, 30)),
    (aircraft, None, (70, 15, 15)),
    (aircraft, "mmaml", (70, 15, 15)),
]


@pytest.mark.parametrize(("module", "split", "sizes"), LISTS)
def test_sizes_and_disjointness(module, split, sizes):
    lists = module.split_lists(None, split)
    assert tuple(lists) == (("train", "val", "test") if len(sizes) == 3 else ("train", "test"))
    assert tuple(len(set(members)) for members in lists.values()) == sizes
    assert all(len(set(members)) == len(members) for members in lists.values())
    for one, other in itertools.combinations(lists.values(), 2):
        assert not set(one) & set(other)


def test_omniglot_lists_agree():
    vinyals, santoro = omniglot.split_lists(None, "vinyals"), omniglot.split_lists(None, "santoro")
    assert set(santoro["train"]) == set(vinyals["train"]) | set(vinyals["val"])
    assert santoro["test"] == vinyals["test"]

    every = set(omniglot.characters())
    assert len(every) == 1623
    assert set(itertools.chain(*omniglot.split_lists(None, "crossmod").values())) == every
    alphabets = read_class_lists("omniglot_alphabets")
    background = {c for c in every if c.split("/")[0] in alphabets["background"]}
    assert len(background) == 964
    assert background <= set(santoro["train"])
    counted = collections.Counter(character.split("/")[0] for character in every)
    assert counted == {**alphabets["background"], **alphabets["evaluation"]}


def test_alphabets_of_the_mixed_test_characters_are_seen_in_training():
    mixed = omniglot.split_lists(None, "mixed")
    alphabets = {part: {name.split("/")[0] for name in names} for part, names in mixed.items()}
    assert len(alphabets["train"]) == 50
    assert len(alphabets["test"]) > 45
    assert sorted(name for names in mixed.values() for name in names) == omniglot.characters()
    assert omniglot.split_lists(None, "mixed", 0) == mixed
    other = omniglot.split_lists(None, "mixed", 1)
    assert 200 < len(set(other["test"]) - set(mixed["test"])) < 423


def test_cifar_superclasses():
    hierarchy = read_class_lists("cifar100_hierarchy")["superclasses"]
    assert list(hierarchy) == sorted(hierarchy)
    assert all(len(members) == 5 for members in hierarchy.values())
    assert len(cifar100.superclasses()) == 100
    assert list(cifar100.superclasses()) == sorted(cifar100.superclasses())
    # Ids are alphabetical ranks; these are known from the archive.
    assert [list(cifar100.superclasses()).index(name) for name in ("beaver", "whale")] == [4, 95]
    for module, split, _ in LISTS:
        if module.INFO.store_name == "cifar100":
            every = set(itertools.chain(*module.split_lists(None, split).values()))
            assert every == set(cifar100.superclasses())


def test_fc100_keeps_superclasses_whole():
    coarse = cifar100.superclasses()
    ids = sorted(set(coarse.values()))
    for split, members in fc100.split_lists().items():
        groups = collections.Counter(coarse[name] for name in members)
        assert set(groups.values()) == {5}
        assert sorted(map(ids.index, groups)) == read_class_lists("fc100")["superclasses"][split]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_meta_cifar100_follows_the_rules(seed):
    coarse = cifar100.superclasses()
    lists = {split: meta_cifar100.split_lists(None, split, seed) for split in ("easy", "moderate")}
    lists["hard"] = meta_cifar100.split_lists(None, "hard", seed)
    groups = {
        split: collections.Counter(coarse[name] for name in divided["test"])
        for split, divided in lists.items()
    }
    assert sorted(groups["easy"].values()) == [1] * 20
    assert sorted(groups["moderate"].values()) == [2, 3, 3, 3, 3, 3, 3]
    assert sorted(groups["hard"].values()) == [5] * 4
    assert not set(groups["hard"]) & {coarse[name] for name in lists["hard"]["train"]}
    for divided in lists.values():
        assert set(divided["train"]) | set(divided["test"]) == set(coarse)


def test_meta_cifar100_seed_0_is_the_shipped_list_and_others_differ():
    drawn = meta_cifar100.draw_lists(0)
    other = meta_cifar100.draw_lists(1)
    for split in ("easy", "moderate", "hard"):
        assert drawn[split] == meta_cifar100.split_lists(None, split)
        assert other[split] != drawn[split]


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_describes_itself(name):
    info = dataset_module(name).INFO
    assert info.name == name
    assert info.description
    assert info.superclass
    assert info.licence
    if name not in NAMED:
        assert info.citation
        assert info.homepage.startswith("https://")
        # Of most datasets all classes have as many images; birds have 41 to 60, and of CelebA a
        # class is a part, of which a folder may hold some.
        if name != "celeb_a":
            assert (info.num_images % info.num_classes == 0) == (name != "cub")


def test_lists_of_birds_and_aeroplanes_follow_their_rules():
    numbers = {
        split: sorted(int(name[:3]) for name in names)
        for split, names in cub.split_lists(None, "torchmeta").items()
    }
    assert numbers["train"] == list(range(1, 200, 2))
    assert numbers["val"] == list(range(2, 200, 4))
    assert numbers["test"] == list(range(4, 201, 4))
    for module, cuts in ((cub, (140, 170)), (aircraft, (70, 85))):
        names = {name for names in module.split_lists().values() for name in names}
        shuffled = sorted(names)
        np.random.RandomState(123).shuffle(shuffled)
        drawn = np.split(np.array(shuffled), cuts)
        lists = module.split_lists(None, "mmaml")
        assert {name: sorted(found) for name, found in lists.items()} == {
            name: sorted(found.tolist())
            for name, found in zip(("train", "val", "test"), drawn, strict=True)
        }
    assert "F/A-18" in aircraft.split_lists(None, "mmaml")["test"]
    assert "F-16A/B" in aircraft.split_lists(None, "mmaml")["train"]


def write_store(folder, module, image_shape=(1, 1, 1)):
    """A store with the dataset's real classes and one pixel for each."""
    if module is omniglot:
        classes = [
            StoredClass(f"{name}/rot{90 * turns}", name.split("/")[0], 1)
            for name in omniglot.characters()
            for turns in range(4)
        ]
    else:
        classes = [StoredClass(name, group, 1) for name, group in cifar100.superclasses().items()]
    images = ((i, np.zeros(image_shape, np.uint8)) for i in range(len(classes)))
    name = module.INFO.store_name
    metadata = {"name": name, "rotations": 4 if module is omniglot else 1}
    write_class_store(folder / name, classes, images, image_shape, metadata)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    write_store(folder, omniglot)
    write_store(folder, cifar100)
    return folder


def test_rotations_count_as_classes(data_dir):
    dataset = load_dataset("omniglot", data_dir=data_dir)
    sizes = {name: dataset.split(name).num_classes for name in dataset.splits}
    assert sizes == {"train": 4 * 1028, "val": 4 * 172, "test": 4 * 423}
    train = dataset.split("train")
    assert train.rotations == 4
    assert train.class_names[:4] == tuple(
        f"Alphabet_of_the_Magi/character01/rot{angle}" for angle in (0, 90, 180, 270)
    )
    assert dataset.split("test").num_superclasses == 13


def test_superclasses_follow_the_classes(data_dir):
    coarse = cifar100.superclasses()
    dataset = load_dataset("fc100", data_dir=data_dir)
    for name in dataset.splits:
        split = dataset.split(name)
        found = [split.superclass_names[i] for i in split.superclasses]
        assert found == [coarse[class_name] for class_name in split.class_names]
        assert sorted(set(split.superclasses.tolist())) == list(range(split.num_superclasses))
    with pytest.raises(ValueError, match="no split 'val'"):
        load_dataset("meta_cifar100", data_dir=data_dir).split("val")


def test_held_out_classes_leave_train(data_dir):
    whole = load_dataset("omniglot", "santoro", data_dir)
    held = load_dataset("omniglot", "santoro", data_dir, held_out=100)
    again = load_dataset("omniglot", "santoro", data_dir, held_out=100)
    other = load_dataset("omniglot", "santoro", data_dir, held_out=100, held_out_seed=1)
    assert held.splits["val"].size == 400
    assert held.splits["train"].size == 4400
    union = np.sort(np.concatenate([held.splits["train"], held.splits["val"]]))
    np.testing.assert_array_equal(union, whole.splits["train"])
    np.testing.assert_array_equal(held.splits["test"], whole.splits["test"])
    assert held.fingerprint == again.fingerprint
    # As it was when only stores of one dataset held out classes.
    assert held.fingerprint.startswith("8b61e00a3afc4927")
    assert held.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "glyphs"}, FileNotFoundError, "prepare --dataset=glyphs"),
        ({"name": "my_birds"}, FileNotFoundError, "image_folder --name=my_birds --source=PATH"),
        ({"name": "omniglot", "split": "x"}, ValueError, "choose from vinyals, santoro"),
        ({"name": "fc100", "held_out": 3}, ValueError, "20 validation classes already"),
        ({"name": "meta_cifar100", "held_out": 80}, ValueError, "expected 0 to 79"),
        ({"name": "meta_cifar100", "held_out": -1}, ValueError, "at least 0; received -1"),
    ],
)
def test_mistakes_are_named(data_dir, arguments, error, message):
    with pytest.raises(error, match=message):
        load_dataset(**arguments, data_dir=data_dir)


def test_unprepared_cifar_lists_name_the_shared_store(tmp_path):
    with pytest.raises(FileNotFoundError, match="prepare --dataset=cifar100"):
        load_dataset("fc100", data_dir=tmp_path)


def test_the_environment_names_the_folder(data_dir, monkeypatch):
    monkeypatch.setenv("KFSL_STORE_DIR", str(data_dir))
    assert load_dataset("cifar_fs").store.path == data_dir / "cifar100"


def test_a_store_without_the_classes_is_refused(tmp_path):
    classes = [StoredClass("apple", "fruit", 1)]
    images = [(0, np.zeros((1, 1, 1), np.uint8))]
    write_class_store(tmp_path / "cifar100", classes, images, (1, 1, 1))
    with pytest.raises(ValueError, match="lists 59 classes that the store"):
        load_dataset("fc100", data_dir=tmp_path)


def test_loading_does_not_import_tensorflow(data_dir):
    import subprocess

    code = (
        "import sys; from data_pipelines.load_dataset import load_dataset; "
        f"load_dataset('fc100', data_dir={str(data_dir)!r}).split('train'); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


@pytest.mark.parametrize(
    ("module", "split", "message"),
    [
        (cub, None, "split_seed=3 has no effect: the lists of cub are given. Leave it out."),
        (omniglot, None, "the lists 'vinyals' of omniglot are given. Leave it out, or choose"),
        (omniglot, "santoro", "choose split leap, mixed."),
        (fc100, None, "the lists of fc100 are given. Leave it out."),
        (omniglot, "leap", ""),
        (omniglot, "mixed", ""),
        (meta_cifar100, None, ""),
        (meta_cifar100, "hard", ""),
    ],
)
def test_a_seed_that_nothing_reads_is_refused(module, split, message):
    if message:
        with pytest.raises(ValueError, match=re.escape(message)):
            module.INFO.check_seed(split, 3)
        return
    module.INFO.check_seed(split, 3)
    assert module.split_lists(None, split, 3) != module.split_lists(None, split)


def test_the_seed_is_looked_at_when_data_are_loaded(tmp_path):
    classes = [StoredClass("a", "all", 1)]
    images = [(0, np.zeros((2, 2, 1), "uint8"))]
    write_class_store(tmp_path / "cub", classes, images, image_shape=(2, 2, 1))
    with pytest.raises(ValueError, match="split_seed=3 has no effect"):
        load_dataset("cub", data_dir=tmp_path, split_seed=3)


@pytest.mark.parametrize("name", ["held_out", "held_out_seed", "split_seed", "held_out_images"])
@pytest.mark.parametrize("value", [1.5, -1, "x"])
def test_what_counts_is_a_whole_number(name, value):
    with pytest.raises(ValueError, match=rf"load_dataset\.{name} must be a whole number .*{value}"):
        load_dataset("glyphs", **{name: value})
