"""Episodes of a mixture: one mode each, in turn or by weights, a pure function of the number."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.class_split import ClassSplit
from data_pipelines.samplers import fixed_episode, mixture_episode

NAMES = ("photos", "characters", "planes", "birds", "textures")


def split_of(sizes=(6, 24, 7), rotations=(1, 4, 1), images=20, name="train"):
    total = sum(sizes)
    return ClassSplit(
        name=name,
        class_names=tuple(f"c{i}" for i in range(total)),
        counts=np.full(total, images),
        offsets=np.arange(total) * images,
        superclasses=np.zeros(total, "int32"),
        superclass_names=("all",),
        modes=np.repeat(np.arange(len(sizes), dtype="int32"), sizes),
        mode_names=NAMES[: len(sizes)],
        mode_rotations=rotations,
    )


def modes(split, count, seed=0, **arguments):
    drawn = tf.function(lambda i: mixture_episode(split, seed, i, ways=2, **arguments)["mode"])
    return [int(drawn(tf.constant(i, tf.int64))) for i in range(count)]


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_any_ten_in_a_row_are_balanced(seed):
    five = modes(split_of((5,) * 5, (1,) * 5), 40, seed)
    assert all(set(Counter(five[i : i + 10]).values()) == {2} for i in range(31))
    three = modes(split_of(), 40, seed)
    assert all(sorted(Counter(three[i : i + 10]).values()) == [3, 3, 4] for i in range(31))


def test_where_the_turn_begins_depends_on_the_seed_and_the_split():
    firsts = {(seed, modes(split_of(), 1, seed)[0]) for seed in range(12)}
    assert {first for _, first in firsts} == {0, 1, 2}


def test_weights_draw_each_mode_by_itself():
    counts = Counter(modes(split_of(), 600, weights=(1.0, 0.0, 3.0)))
    assert counts[1] == 0
    # 150 and 450 of 600, standard deviation 10.6.
    assert abs(counts[0] - 150) < 45


def test_some_modes_alone():
    assert set(modes(split_of(), 12, modes=("planes", "photos"))) == {0, 2}
    assert set(modes(split_of(), 4, modes=("characters",))) == {1}


def test_classes_are_of_the_mode_and_images_of_the_classes():
    split = split_of()
    for index in range(9):
        episode = mixture_episode(split, 3, index, ways=5, shots=2, queries=3)
        mode = int(episode["mode"])
        classes = episode["support_class_ids"].numpy()
        assert (split.modes[classes] == mode).all()
        assert len(set(classes.tolist())) == 5
        rows = np.concatenate([episode["support_indices"], episode["query_indices"]])
        ids = np.concatenate([classes, episode["query_class_ids"]])
        assert (rows // 20 == ids).all()
        assert len(set(rows.tolist())) == len(rows)


def test_a_class_takes_one_rotation_in_an_episode():
    split = split_of()
    turns = []
    for index in range(60):
        episode = mixture_episode(split, 0, index, ways=3, modes=("characters",))
        places = np.unique(episode["support_class_ids"]) - 6
        assert len(set((places // 4).tolist())) == 3  # Never its own rotated copy.
        turns += (places % 4).tolist()
    counts = Counter(turns)
    # 45 of 180 each, standard deviation 5.8.
    assert set(counts) == {0, 1, 2, 3}
    assert max(abs(count - 45) for count in counts.values()) < 25
    upright = mixture_episode(split, 0, 1, ways=3, modes=("characters",), rotations="none")
    assert ((upright["support_class_ids"].numpy() - 6) % 4 == 0).all()
    every = mixture_episode(split, 0, 1, ways=24, modes=("characters",), rotations="class")
    assert sorted(set(every["support_class_ids"].numpy().tolist())) == list(range(6, 30))


def test_it_is_a_pure_function_of_seed_split_and_number():
    split = split_of()
    compiled = tf.function(lambda i: mixture_episode(split, 5, i, ways=4))
    for index in (0, 7, 10**12):
        one = mixture_episode(split, 5, index, ways=4)
        other = compiled(tf.constant(index, tf.int64))
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": 7}, r"mode 'photos' has 6 classes.*at most 6"),
        ({"modes": ("fish",)}, r"modes=\['fish'\] must name some of .* photos, characters, planes"),
        ({"modes": ()}, r"modes=\[\] must name"),
        ({"weights": (1.0, 2.0)}, r"weights must be 3 numbers"),
        ({"weights": (0.0, 0.0, 0.0)}, r"not all 0"),
        ({"queries": 20}, r"an episode can need 21"),
        ({"rotations": "all"}, r"rotations must be one of"),
        ({"shots": 0}, r"shots must be a whole number"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        mixture_episode(split_of(), 0, 0, **arguments)


def test_splits_of_no_mixture_are_refused():
    plain = ClassSplit(
        name="val", class_names=("a", "b"), counts=np.array([20, 20]), offsets=np.array([0, 20]),
        superclasses=np.zeros(2, "int32"), superclass_names=("all",),
    )  # fmt: skip
    assert "mode" not in fixed_episode(plain, 0, 0, ways=2)
    with pytest.raises(ValueError, match=r"'val' is of no mixture"):
        mixture_episode(plain, 0, 0, ways=2)
