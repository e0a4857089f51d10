"""Classes of a mixture that are held out: whole characters, a share of each mode."""

import numpy as np
import pytest

from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset
from data_pipelines.load_dataset import load_dataset
from data_pipelines.samplers import mixture_episode
from tests.data_pipelines.test_mixture import prepare, write_part

#: Train classes of the two modes.
PHOTOS, CHARACTERS = 12, 6


def without_val(train, test=3):
    return {
        "train": [f"c{i:02}" for i in range(train)],
        "test": [f"c{i:02}" for i in range(train, train + test)],
    }


@pytest.fixture
def folder(tmp_path):
    """A mixture `mixed` of plain photos and of characters with their four rotations."""
    write_part(tmp_path, "photos", (8, 8, 1), splits=without_val(PHOTOS))
    write_part(tmp_path, "turned", (8, 8, 1), 4, seed=1, splits=without_val(CHARACTERS))
    prepare(tmp_path, "photos,turned", size=8)
    return tmp_path


def characters(split):
    """The names of a split's classes without their rotations, each as often as it is there."""
    return [name.rpartition("/rot")[0] or name for name in split.class_names]


def test_a_character_is_held_out_with_all_its_rotations(folder):
    data = load_dataset("mixed", data_dir=folder, held_out=6)
    train, val = data.split("train"), data.split("val")
    assert not set(characters(train)) & set(characters(val))
    # Shares of 12 and 6 classes; the characters have four rotations each.
    assert np.bincount(val.modes).tolist() == [4, 2 * 4]
    assert np.bincount(train.modes).tolist() == [8, 4 * 4]
    whole = load_dataset("mixed", data_dir=folder)
    assert sorted([*train.class_names, *val.class_names]) == sorted(
        whole.split("train").class_names
    )
    assert list(data.splits) == ["train", "val", "test"]
    assert data.split("test").class_names == whole.split("test").class_names


@pytest.mark.parametrize("name", ["train", "val"])
def test_episodes_are_of_different_characters_of_one_mode(folder, name):
    split = load_dataset("mixed", data_dir=folder, held_out=9).split(name)
    every = characters(split)
    for index in range(40):
        episode = mixture_episode(split, 0, index, ways=3, queries=1)
        classes = episode["query_class_ids"].numpy()
        assert len({every[i] for i in classes}) == 3
        assert set(split.modes[classes]) == {int(episode["mode"])}


def test_a_class_is_held_out_of_all_the_styles_that_it_has(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1), splits=without_val(PHOTOS))
    write_part(tmp_path, "turned", (8, 8, 1), 4, seed=1, splits=without_val(CHARACTERS))
    prepare(tmp_path, "turned,photos,turned:inverted", size=8)
    val = load_dataset("mixed", data_dir=tmp_path, held_out=8).split("val")
    plain, inverted = (
        {name.partition("/")[2] for name in val.class_names if name.startswith(part)}
        for part in ("turned/", "turned:inverted/")
    )
    assert len(plain) == 2 * 4
    assert plain == inverted
    with pytest.raises(ValueError, match="each is to give as many classes; received 2 and 1"):
        load_dataset("mixed", data_dir=tmp_path, held_out=6)


def test_which_classes_are_held_out_depends_on_the_seed_alone(folder):
    first, again, other = (
        load_dataset("mixed", data_dir=folder, held_out=6, held_out_seed=seed) for seed in (0, 0, 1)
    )
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("held_out", "shares"),
    [(2, [1, 1]), (3, [2, 1]), (4, [3, 1]), (5, [3, 2]), (9, [6, 3]), (15, [10, 5]), (16, [11, 5])],
)
def test_each_mode_gives_in_proportion_to_its_classes(folder, held_out, shares):
    val = load_dataset("mixed", data_dir=folder, held_out=held_out).split("val")
    groups = np.bincount(val.modes) // [1, 4]
    assert groups.tolist() == shares


@pytest.mark.parametrize("held_out", [1, 17, 18])
def test_no_mode_is_left_out_of_either_split(folder, held_out):
    message = (
        rf"held_out={held_out}, expected 0 or 2 to 16: mixed has 12 train classes of photos, 6 of "
        r"turned, and of each mode one class at least is held out, and one stays"
    )
    with pytest.raises(ValueError, match=message):
        load_dataset("mixed", data_dir=folder, held_out=held_out)


def test_a_mode_of_one_class_keeps_it(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1), splits=without_val(4))
    write_part(tmp_path, "turned", (8, 8, 1), 4, splits=without_val(1))
    prepare(tmp_path, "photos,turned", size=8)
    data = load_dataset("mixed", data_dir=tmp_path, held_out=3)
    assert data.split("val").modes.tolist() == [0, 0, 0]
    assert np.bincount(data.split("train").modes).tolist() == [1, 4]


def test_without_train_classes_none_can_be_held_out(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1), splits={"test": ["a", "b"]})
    write_part(tmp_path, "turned", (8, 8, 1), splits=without_val(2))
    prepare(tmp_path, "photos,turned", size=8)
    with pytest.raises(ValueError, match=r"held_out=1.*mixed has no split 'train', only test"):
        load_dataset("mixed", data_dir=tmp_path, held_out=1)


def test_lists_that_divide_the_rotations_of_a_mode_are_refused(folder):
    store = ClassStore.open(folder / "mixed")
    torn = [*range(15), 15, 16, 17]
    assert store.class_names[15:19] == [f"turned/c00/rot{turn}" for turn in (0, 90, 180, 270)]
    message = r"Split 'train' of mixed divides the 4 rotations of a class of mode 'turned'"
    with pytest.raises(ValueError, match=message):
        FewShotDataset("mixed", store, {"train": torn})
    FewShotDataset("mixed", store, {"train": [*torn, 18]})
    # Four classes, but of two characters.
    with pytest.raises(ValueError, match=message):
        FewShotDataset("mixed", store, {"train": [0, 17, 18, 19, 20]})


def test_one_dataset_holds_out_what_it_always_did(folder):
    """Sorted names in the order of a frozen stream of random numbers."""
    train = [f"c{i:02}" for i in range(CHARACTERS)]
    moved = np.random.RandomState(3).permutation(CHARACTERS)[:2]
    data = load_dataset("turned", data_dir=folder, held_out=2, held_out_seed=3)
    assert set(characters(data.split("val"))) == {train[i] for i in moved}
    assert len(data.split("val").class_names) == 2 * 4


def test_a_split_that_a_part_lacks_is_told(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1))
    write_part(tmp_path, "drawings", (8, 8, 1), seed=1)
    assert "left out" not in prepare(tmp_path, size=8, name="whole")
    write_part(tmp_path, "turned", (8, 8, 1), 4, seed=2, splits=without_val(CHARACTERS))
    write_part(tmp_path, "birds", (8, 8, 1), seed=3, splits=without_val(5))
    parts = "photos,turned:inverted,birds"
    told = (
        "Split val is left out, with its classes: turned:inverted and birds have none. To keep "
        "train classes for it, set load_dataset.held_out."
    )
    assert prepare(tmp_path, parts, size=8).splitlines()[1:] == [told]
    # Of a mixture that is there it is told again.
    assert prepare(tmp_path, parts, size=8).splitlines()[1:] == [told]


def test_a_test_split_that_a_part_lacks_has_no_remedy(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1))
    write_part(tmp_path, "scraps", (8, 8, 1), seed=1, splits={"train": ["a"], "val": ["b"]})
    told = prepare(tmp_path, "photos,scraps", size=8).splitlines()[1:]
    assert told == ["Split test is left out, with its classes: scraps has none."]
