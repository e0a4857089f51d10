"""Open-set episodes: another sampler's, and queries of classes that it does not have."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.class_split import ClassSplit
from data_pipelines.samplers import (
    alphabet_episode,
    base_batch,
    fixed_episode,
    mixture_episode,
    open_set_episode,
    variable_episode,
)
from data_pipelines.samplers.open_set_episode import UNKNOWN, classes_left

KNOWN = functools.partial(fixed_episode, ways=3, shots=2, queries=4)


def split_of(classes=10, images=8, **arguments) -> ClassSplit:
    values = {
        "name": "val",
        "class_names": tuple(f"c{i}" for i in range(classes)),
        "counts": np.full(classes, images),
        "offsets": np.arange(classes) * images,
        "superclasses": np.zeros(classes, "int32"),
        "superclass_names": ("all",),
    }
    return ClassSplit(**{**values, **arguments})


def drawn(split, index=3, known=KNOWN, seed=7, **arguments):
    found = open_set_episode(split, seed, tf.constant(index, tf.int64), known=known, **arguments)
    return {name: np.asarray(values) for name, values in found.items()}


def unknown_part(episode):
    unknown = episode["query_labels"] == UNKNOWN
    return episode["query_class_ids"][unknown], episode["query_indices"][unknown]


def test_the_episode_is_the_other_samplers_to_the_bit():
    split = split_of()
    episode, alone = drawn(split, unknown_queries=4), KNOWN(split, 7, 3)
    for name, values in alone.items():
        np.testing.assert_array_equal(episode[name][: len(values)], values)
    assert (episode["query_labels"][12:] == UNKNOWN).all()


def test_unknown_queries_are_images_of_other_classes_each_once():
    split = split_of()
    for index in range(20):
        episode = drawn(split, index, unknown_ways=4, unknown_queries=5)
        classes, rows = unknown_part(episode)
        assert len(set(classes)) == 4
        assert not set(classes) & set(episode["support_class_ids"])
        np.testing.assert_array_equal(rows // 8, classes)
        assert len(set(rows)) == len(rows) == 20


def test_it_is_a_pure_function_of_seed_split_and_number():
    split = split_of()
    first = drawn(split, unknown_queries=3)
    again = drawn(split, unknown_queries=3)
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    compiled = tf.function(
        lambda index: open_set_episode(split, 7, index, known=KNOWN, unknown_queries=3)
    )(tf.constant(3, tf.int64))
    for name, values in first.items():
        np.testing.assert_array_equal(compiled[name], values)
    others = (
        drawn(split, 4, unknown_queries=3),
        drawn(split, seed=8, unknown_queries=3),
        drawn(split_of(name="test"), unknown_queries=3),
    )
    for other in others:
        assert unknown_part(other)[1].tolist() != unknown_part(first)[1].tolist()


def test_every_other_class_comes_as_often():
    split = split_of()
    times = np.zeros(10)
    for index in range(300):
        classes, _ = unknown_part(drawn(split, index, unknown_ways=2, unknown_queries=1))
        times[classes] += 1
    # 600 draws of ten classes: 60 each, and 7.3 of standard deviation.
    assert np.abs(times - 60).max() < 4 * 7.35


def test_unknown_ways_are_five_or_what_is_left():
    assert len(set(unknown_part(drawn(split_of(10)))[0].tolist())) == 5
    assert len(set(unknown_part(drawn(split_of(5)))[0].tolist())) == 2
    assert classes_left(split_of(5), 7, KNOWN) == 2


def test_unknown_queries_are_as_many_as_a_class_has():
    _, rows = unknown_part(drawn(split_of(10)))
    assert len(rows) == 5 * 4


@pytest.mark.parametrize(("ways", "classes"), [(3, 5), (None, 3)])
def test_too_few_classes_are_refused(ways, classes):
    with pytest.raises(ValueError, match=r"unknown classes asked of split 'val'.*Bind fewer"):
        drawn(split_of(classes), unknown_ways=ways, unknown_queries=1)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="has 8 images, but an episode can need 9"):
        drawn(split_of(), unknown_queries=9)


def test_turned_copies_of_a_class_are_not_unknown():
    split = split_of(32, rotations=4)
    for index in range(20):
        episode = drawn(split, index, unknown_ways=20, unknown_queries=1)
        classes, _ = unknown_part(episode)
        assert not set(classes // 4) & set(episode["support_class_ids"] // 4)


def test_of_a_mixture_they_are_of_the_episodes_mode():
    split = split_of(
        24, modes=np.arange(24, dtype="int32") // 12, mode_names=("a", "b"), mode_rotations=(1, 4)
    )
    known = functools.partial(mixture_episode, ways=2, queries=2, shots=1)
    seen = set()
    for index in range(12):
        episode = drawn(split, index, known, unknown_ways=4, unknown_queries=1)
        classes, _ = unknown_part(episode)
        assert (split.modes[classes] == episode["mode"]).all()
        seen.add(int(episode["mode"]))
        if episode["mode"] == 1:
            assert not set(classes // 4) & set(episode["support_class_ids"] // 4)
    assert seen == {0, 1}


@pytest.mark.parametrize("small", ["first", "second"])
def test_of_a_mixture_they_are_as_many_as_the_smallest_mode_leaves(small):
    sizes = (3, 16) if small == "first" else (16, 3)
    split = split_of(
        19, modes=np.repeat([0, 1], sizes).astype("int32"), mode_names=("a", "b"),
        mode_rotations=(1, 1),
    )  # fmt: skip
    known = functools.partial(mixture_episode, ways=2, queries=2, shots=1)
    assert classes_left(split, 7, known) == 1
    modes = [drawn(split, index, known, unknown_queries=1) for index in range(8)]
    assert {int(episode["mode"]) for episode in modes} == {0, 1}
    assert {len(set(unknown_part(episode)[0])) for episode in modes} == {1}
    # A mode that is not drawn from lacks nothing.
    large = functools.partial(known, modes=("b" if small == "first" else "a",))
    assert classes_left(split, 7, large) == 14
    assert len(set(unknown_part(drawn(split, 0, large, unknown_queries=1))[0])) == 5


@pytest.mark.parametrize(("rotations", "upright"), [("none", True), ("episode", False)])
def test_of_a_mixture_known_and_unknown_are_turned_alike(rotations, upright):
    split = split_of(
        24, modes=np.arange(24, dtype="int32") // 12, mode_names=("a", "b"), mode_rotations=(1, 4)
    )
    known = functools.partial(mixture_episode, ways=2, queries=2, shots=1, rotations=rotations)
    turned, drawn_from = set(), set()
    for index in range(40):
        episode = drawn(split, index, known, unknown_ways=1, unknown_queries=1, rotations=rotations)
        (unknown,), _ = unknown_part(episode)
        drawn_from.add(int(unknown))
        if episode["mode"] == 1:
            turned |= {int(unknown) % 4, *(episode["support_class_ids"] % 4).tolist()}
            assert unknown // 4 not in set(episode["support_class_ids"] // 4)
    assert turned == ({0} if upright else {0, 1, 2, 3})
    # Of a mode without rotations every class counts.
    assert {unknown % 4 for unknown in drawn_from if unknown < 12} == {0, 1, 2, 3}


def test_of_padded_episodes_the_padding_is_no_class():
    known = functools.partial(
        variable_episode, min_ways=2, max_ways=4, min_shots=1, max_shots=2, total_queries=4
    )
    for index in range(20):
        episode = drawn(split_of(6), index, known, unknown_ways=2, unknown_queries=2)
        taken = set(episode["support_class_ids"][episode["support_mask"]])
        assert not set(unknown_part(episode)[0]) & taken


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (functools.partial(base_batch, batch_size=4), "batches of base classes"),
        (
            functools.partial(alphabet_episode, ways=2, shots=1, queries=1, affine="queries"),
            "whose queries are transformed",
        ),
    ],
)
def test_other_kinds_of_episodes_are_refused(known, word):
    with pytest.raises(ValueError, match=word):
        drawn(split_of(), known=known, unknown_ways=1, unknown_queries=1)
