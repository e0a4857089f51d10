"""Episodes of fixed size, epochs, plain batches, and the purity of every sampler."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from data_pipelines.samplers import (
    base_batch,
    epoch_episode,
    fixed_episode,
    hierarchical_episode,
    variable_episode,
)
from tests.support.sampling_cases import class_of_rows, many, toy_split

ROOT = Path(__file__).parents[3]
UNEQUAL = [6, 9, 7, 30, 6, 8, 6, 11]
SUPERS = [0, 0, 0, 0, 1, 1, 1, 1]
SAMPLERS = {
    "fixed": functools.partial(fixed_episode, ways=3, shots=2, queries=4),
    "single_query": functools.partial(fixed_episode, ways=3, shots=2, total_queries=1),
    "rotated": functools.partial(fixed_episode, ways=2, shots=1, queries=2, rotations="episode"),
    "epoch": functools.partial(epoch_episode, ways=3, shots=2, queries=4),
    "variable": functools.partial(
        variable_episode, min_ways=2, max_ways=4, max_shots=2, total_queries=7
    ),
    "hierarchical": functools.partial(hierarchical_episode, ways=3, queries=2, min_ways=2),
    "batch": functools.partial(base_batch, batch_size=5),
}
# The first episodes ever drawn this way: a change here changes every result.
GOLDEN_SUPPORT = [381, 152, 294, 591, 179]
GOLDEN_QUERY = [384, 146, 281, 586, 178]


def split_for(name: str, split_name: str = "train"):
    if name == "rotated":
        return toy_split([6] * 16, rotations=4, name=split_name)
    return toy_split(UNEQUAL, SUPERS, name=split_name)


def same(first: dict, second: dict) -> bool:
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_episode_eagerly_in_a_function_and_under_xla(name):
    split, sampler = split_for(name), SAMPLERS[name]

    def draw(index):
        return sampler(split, 11, index)

    graph = tf.function(draw, autograph=False)
    xla = tf.function(draw, autograph=False, jit_compile=True)
    for index in (0, 7, 2**40 + 3):
        index = tf.constant(index, tf.int64)
        assert same(draw(index), graph(index))
        assert same(draw(index), xla(index))


@pytest.mark.parametrize("name", SAMPLERS)
def test_seed_split_and_index_each_change_the_episode(name):
    sampler = SAMPLERS[name]
    rows = "query_indices" if name == "batch" else "support_indices"

    def stream(seed, split_name, start):
        draws = [sampler(split_for(name, split_name), seed, start + i)[rows] for i in range(4)]
        return np.stack(draws)

    reference = stream(0, "train", 0)
    assert np.array_equal(reference, stream(0, "train", 0))
    for other in (stream(1, "train", 0), stream(0, "val", 0), stream(0, "train", 2**33)):
        assert not np.array_equal(reference, other)
    assert len(np.unique(reference, axis=0)) == 4
    # Seed 1 is not seed 0 moved by one episode.
    assert not np.array_equal(stream(1, "train", 0)[:3], reference[1:])


def test_the_stream_is_the_same_on_every_machine():
    split = toy_split([20] * 50)
    episode = fixed_episode(split, 3, 2**40 + 5, ways=5, shots=1, queries=1)
    assert episode["support_indices"].numpy().tolist() == GOLDEN_SUPPORT
    assert episode["query_indices"].numpy().tolist() == GOLDEN_QUERY


def test_another_process_draws_the_same_episode():
    code = (
        "from tests.support.sampling_cases import toy_split\n"
        "from data_pipelines.samplers import fixed_episode\n"
        "e = fixed_episode(toy_split([20] * 50), 3, 2**40 + 5, ways=5, shots=1, queries=1)\n"
        "print(e['support_indices'].numpy().tolist())"
    )
    # Another hash seed: Python's own hash() must not enter.
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == str(GOLDEN_SUPPORT)


@pytest.mark.parametrize("sampler", [fixed_episode, epoch_episode])
def test_counts_are_exact_and_support_and_query_disjoint(sampler):
    split = toy_split(UNEQUAL)
    drawn = many(sampler, split, 200, ways=3, shots=2, queries=4)
    for i in range(200):
        support, query = drawn["support_indices"][i], drawn["query_indices"][i]
        assert len(set(support) | set(query)) == 3 * (2 + 4)
        assert drawn["support_labels"][i].tolist() == [0, 0, 1, 1, 2, 2]
        assert drawn["query_labels"][i].tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert len(set(drawn["support_class_ids"][i])) == 3
        class_of_label = drawn["support_class_ids"][i][::2]
        assert np.array_equal(class_of_label[drawn["query_labels"][i]], drawn["query_class_ids"][i])
    for part in ("support", "query"):
        owners = class_of_rows(split, drawn[f"{part}_indices"])
        assert np.array_equal(owners, drawn[f"{part}_class_ids"])


def test_an_episode_may_use_every_image_of_every_class():
    split = toy_split([3, 3])
    episode = fixed_episode(split, 0, 0, ways=2, shots=1, queries=2)
    rows = np.concatenate([episode["support_indices"], episode["query_indices"]])
    assert sorted(rows) == [3, 4, 5, 9, 10, 11]


def test_classes_images_and_successive_episodes_are_uniform_and_independent():
    counts = [6, 9, 7, 8, 6, 12]
    split = toy_split(counts)
    drawn = many(fixed_episode, split, 6000, ways=2, shots=1, queries=1)
    classes = drawn["support_class_ids"]
    pairs = np.bincount(classes[:, 0] * 6 + classes[:, 1], minlength=36)
    assert np.all(pairs[::7] == 0)
    assert stats.chisquare(np.delete(pairs, np.arange(0, 36, 7))).pvalue > 0.01
    successive = np.bincount(classes[:-1, 0] * 6 + classes[1:, 0], minlength=36)
    assert stats.chisquare(successive).pvalue > 0.01
    for label in range(2):
        for c, count in enumerate(counts):
            of_class = classes[:, label] == c
            support = drawn["support_indices"][of_class, label] - split.offsets[c]
            query = drawn["query_indices"][of_class, label] - split.offsets[c]
            cells = np.bincount(support * count + query, minlength=count**2)
            cells = np.delete(cells, np.arange(0, count**2, count + 1))
            assert stats.chisquare(cells).pvalue > 0.001


def test_total_queries_draw_their_classes_uniformly():
    split = toy_split([9] * 6)
    drawn = many(fixed_episode, split, 3000, ways=3, shots=2, total_queries=2)
    labels = drawn["query_labels"]
    assert stats.chisquare(np.bincount(labels[:, 0] * 3 + labels[:, 1])).pvalue > 0.01
    rows = np.concatenate([drawn["support_indices"], drawn["query_indices"]], axis=1)
    assert all(len(set(row)) == 8 for row in rows)
    assert np.array_equal(class_of_rows(split, drawn["query_indices"]), drawn["query_class_ids"])
    by_label = drawn["support_class_ids"][:, ::2]
    assert np.array_equal(np.take_along_axis(by_label, labels, 1), drawn["query_class_ids"])


def test_each_class_occurs_once_in_an_epoch():
    split = toy_split([5] * 13)
    drawn = many(epoch_episode, split, 400, ways=3, shots=1, total_queries=1)
    epochs = drawn["support_class_ids"].reshape(100, 12)  # 13 // 3 = 4 episodes an epoch
    assert all(len(set(epoch)) == 12 for epoch in epochs)
    idle = [next(iter(set(range(13)) - set(epoch))) for epoch in epochs]
    assert stats.chisquare(np.bincount(idle, minlength=13)).pvalue > 0.01
    assert len(np.unique(epochs, axis=0)) == 100
    # A class meets another partner, and another label, in the next epoch.
    assert stats.chisquare(np.bincount(epochs[:, 0], minlength=13)).pvalue > 0.01


def test_each_episode_of_an_epoch_draws_its_own_images():
    split = toy_split([40] * 6)  # 2 episodes an epoch
    drawn = many(epoch_episode, split, 40, ways=3, shots=1, queries=5)
    picks = drawn["query_indices"] - split.offsets[drawn["query_class_ids"]]
    assert len(np.unique(picks, axis=0)) == 40


def test_rotations_as_classes_take_every_position():
    split = toy_split([5] * 12, rotations=4)
    drawn = many(fixed_episode, split, 300, ways=3, shots=1, queries=1)
    assert set(drawn["support_class_ids"].ravel()) == set(range(12))
    # Two rotations of one character are two classes, so they do meet.
    characters = np.sort(drawn["support_class_ids"] // 4, axis=1)
    assert np.any(characters[:, 1:] == characters[:, :-1])


@pytest.mark.parametrize("sampler", [fixed_episode, epoch_episode])
def test_one_random_rotation_per_class_and_episode(sampler):
    split = toy_split([5] * 24, rotations=4)
    drawn = many(sampler, split, 1000, ways=3, shots=2, queries=2, rotations="episode")
    ids = drawn["support_class_ids"]
    assert all(len(set(row // 4)) == 3 for row in ids)
    assert np.array_equal(ids[:, ::2], ids[:, 1::2])
    assert np.array_equal(ids, drawn["query_class_ids"])
    assert np.array_equal(class_of_rows(split, drawn["query_indices"]), drawn["query_class_ids"])
    assert stats.chisquare(np.bincount(ids[:, 0], minlength=24)).pvalue > 0.01
    turns = ids[:, ::2] % 4
    assert stats.chisquare(np.bincount(turns[:, 0] * 4 + turns[:, 1], minlength=16)).pvalue > 0.01


def test_without_rotations_only_upright_images_are_drawn():
    split = toy_split([5] * 12, rotations=4)
    drawn = many(fixed_episode, split, 100, ways=3, shots=1, queries=1, rotations="none")
    assert set(drawn["support_class_ids"].ravel()) == {0, 4, 8}
    batch = base_batch(split, 0, 0, batch_size=15, rotations="none")
    assert sorted(set(batch["query_labels"].numpy())) == [0, 4, 8]
    assert np.array_equal(
        class_of_rows(split, batch["query_indices"].numpy()), batch["query_labels"]
    )


@pytest.mark.parametrize(("first", "last", "held"), [(0, -2, {0, 1, 2}), (-2, None, {3, 4})])
def test_rotations_of_a_part_of_the_images(first, last, held):
    """Of what is held out of training, and of what is left."""
    whole = toy_split([5] * 12, rotations=4)
    split = whole.part(first, last)
    drawn = many(fixed_episode, split, 60, ways=3, shots=1, queries=1, rotations="episode")
    assert all(len(set(row // 4)) == 3 for row in drawn["support_class_ids"])
    rows, ids = (drawn[f"support_{name}"].ravel() for name in ("indices", "class_ids"))
    assert np.array_equal(class_of_rows(whole, rows), ids)
    assert set(rows - whole.offsets[ids]) == held
    size = 3 * len(held)
    batch = base_batch(split, 0, 0, batch_size=size, rotations="none")
    assert sorted(set(batch["query_labels"].numpy())) == [0, 4, 8]


def test_a_batch_epoch_uses_every_image_once():
    split = toy_split([3, 8, 5, 2])
    drawn = many(base_batch, split, 12, batch_size=6)  # 18 images: 3 batches an epoch
    epochs = drawn["query_indices"].reshape(4, 18)
    own = [o + i for o, c in zip(split.offsets, split.counts, strict=True) for i in range(c)]
    assert all(sorted(epoch) == own for epoch in epochs)
    assert len(np.unique(epochs, axis=0)) == 4
    assert np.array_equal(class_of_rows(split, drawn["query_indices"]), drawn["query_labels"])


def test_the_images_that_do_not_fill_a_batch_change_from_epoch_to_epoch():
    drawn = many(base_batch, toy_split([4, 3]), 40, batch_size=5)
    assert len({tuple(sorted(row)) for row in drawn["query_indices"]}) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"ways": 9}, "9 ways asked of split 'train', which has 8 classes"),
        ({"ways": 0}, "ways must be a whole number of at least 1; received ways=0"),
        ({"ways": 2.0}, "ways must be a whole number"),
        ({"ways": 2, "total_queries": 0}, "total_queries must be"),
        ({"ways": 2, "shots": 3, "queries": 5}, r"'class0'.* has 6 images.* need 8 .*3 more"),
        ({"ways": 2, "total_queries": 6}, "'class0'.* has 6 images.* need 7 of a class"),
        ({"ways": 2, "rotations": "all"}, "rotations must be one of .* received rotations='all'"),
        ({"ways": 2, "queries": 1, "rotations": "episode"}, "four rotations.*'train' has none"),
    ],
)
@pytest.mark.parametrize("sampler", [fixed_episode, epoch_episode])
def test_impossible_episodes_are_refused(sampler, call, message):
    with pytest.raises(ValueError, match=message):
        sampler(toy_split(UNEQUAL), 0, 0, **call)


def test_rotations_count_characters_not_classes():
    with pytest.raises(ValueError, match="3 ways asked of split 'train', which has 2 classes"):
        fixed_episode(toy_split([9] * 8, rotations=4), 0, 0, ways=3, queries=1, rotations="none")


def test_impossible_batches_are_refused():
    with pytest.raises(ValueError, match="batch_size=20, but split 'train' has 18 images"):
        base_batch(toy_split([3, 8, 5, 2]), 0, 0, batch_size=20)
    with pytest.raises(ValueError, match="no meaning for plain batches"):
        base_batch(toy_split([9] * 8, rotations=4), 0, 0, batch_size=2, rotations="episode")


def test_seeds_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match="seed must fit in 64 bits"):
        fixed_episode(toy_split([9] * 8), 2**63, 0, queries=1)
