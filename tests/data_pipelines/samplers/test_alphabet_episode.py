"""One task is one alphabet: held-out images, rounds of alphabets, imbalance, affines."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import pipeline
from data_pipelines.class_split import ClassSplit
from data_pipelines.datasets import omniglot
from data_pipelines.samplers import alphabet_episode
from tests.support import letters

#: Three alphabets of 4, 3 and 2 classes; the last is too small for three ways.
SPLIT = ClassSplit(
    name="test",
    class_names=tuple("abcdefghi"),
    counts=np.array([20, 20, 22, 20, 20, 20, 20, 20, 20]),
    offsets=np.arange(9) * 100,
    superclasses=np.array([0, 0, 0, 0, 1, 1, 1, 2, 2], "int32"),
    superclass_names=("Greek", "Latin", "Runes"),
)
SIZES = {"ways": 3, "shots": 15, "queries": 5}


def drawn(index, seed=0, split=SPLIT, **sizes):
    return {
        k: v.numpy() for k, v in alphabet_episode(split, seed, index, **{**SIZES, **sizes}).items()
    }


def test_the_first_images_are_held_out():
    for index in range(8):
        episode = drawn(index)
        assert set(episode["query_indices"] % 100) == set(range(5))
        support = episode["support_indices"]
        assert len(set(support)) == 45
        assert (support % 100).min() == 5
        np.testing.assert_array_equal(support // 100, episode["support_class_ids"])
        np.testing.assert_array_equal(episode["query_indices"] // 100, episode["query_class_ids"])
        for labels, count in ((episode["support_labels"], 15), (episode["query_labels"], 5)):
            np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], count))
        alphabets = SPLIT.superclasses[episode["support_class_ids"]]
        assert len(set(alphabets)) == 1
        assert alphabets[0] != 2


def test_queries_can_be_drawn_too():
    seen = set()
    for index in range(12):
        episode = drawn(index, fixed_queries=False, shots=5, queries=15)
        everything = np.append(episode["support_indices"], episode["query_indices"])
        assert len(set(everything)) == 60
        np.testing.assert_array_equal(episode["query_indices"] // 100, episode["query_class_ids"])
        np.testing.assert_array_equal(
            episode["support_indices"] // 100, episode["support_class_ids"]
        )
        np.testing.assert_array_equal(episode["query_labels"], np.repeat([0, 1, 2], 15))
        seen |= set(episode["query_indices"] % 100)
    assert seen >= set(range(20))


def test_alphabets_are_dealt_out_round_by_round():
    alphabets = [SPLIT.superclasses[drawn(i)["query_class_ids"][0]] for i in range(40)]
    rounds = np.reshape(alphabets, (20, 2))
    assert (np.sort(rounds, axis=1) == [0, 1]).all()
    assert len({tuple(each) for each in rounds}) == 2


def test_an_episode_is_a_function_of_its_number():
    traced = tf.function(functools.partial(alphabet_episode, SPLIT, 3, min_shots=1, **SIZES))
    for index in (0, 11):
        found = traced(tf.constant(index, tf.int64))
        for name, value in drawn(index, seed=3, min_shots=1).items():
            np.testing.assert_array_equal(found[name], value)
    assert any(np.any(drawn(0, seed=4)[k] != v) for k, v in drawn(0, seed=3).items())


def test_imbalance():
    counts = []
    for index in range(60):
        episode = drawn(index, min_shots=2)
        mask, labels = episode["support_mask"], episode["support_labels"]
        assert mask.shape == (45,)
        kept = int(mask.sum())
        assert mask[:kept].all()
        assert (np.diff(labels[:kept]) >= 0).all()
        assert (labels[kept:] == 0).all()
        assert len(set(episode["support_indices"][mask])) == kept
        counts += np.bincount(labels[mask], minlength=3).tolist()
    assert (min(counts), max(counts)) == (2, 15)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"ways": 5}, "5 ways asked within one superclass of split 'test', whose largest has 4"),
        ({"shots": 16}, "can need 21 of a class"),
        ({"min_shots": 0}, "min_shots must be a whole number of at least 1; received min_shots=0"),
        ({"min_shots": 16}, "min_shots=16 must not exceed shots=15"),
        ({"rotations": "episode"}, "not for alphabets"),
        ({"affine": "both"}, "affine must be one of none, queries, all; received affine='both'"),
        ({"queries": 0}, "queries must be a whole number"),
        ({"fixed_queries": "no"}, "fixed_queries must be True or False"),
    ],
)
def test_what_is_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        drawn(0, **sizes)


@pytest.mark.parametrize("affine", ["all", "queries"])
def test_affines_are_carried_out_by_the_pipeline(affine, tmp_path):
    letters.write_letters(str(tmp_path / "letters"))
    dataset = letters.letters(str(tmp_path / "letters"))
    sampler = functools.partial(alphabet_episode, ways=2, shots=3, queries=2)
    moving = functools.partial(sampler, affine=affine)
    plain, _ = pipeline.episode_at(dataset, "train", sampler, seed=0, index=1)
    moved, labels = pipeline.episode_at(dataset, "train", moving, seed=0, index=1)
    for name in ("support_images", "query_images"):
        assert moved[name].shape == plain[name].shape
        assert moved[name].dtype == tf.uint8
        pairs = zip(moved[name][0], plain[name][0], strict=True)
        expected = affine == "all" or name == "query_images"
        assert all(np.any(a != b) == expected for a, b in pairs)
    streamed, other = next(
        iter(pipeline.episodes(dataset, "train", moving, seed=0, start=0, meta_batch=2))
    )
    for name, value in moved.items():
        np.testing.assert_array_equal(streamed[name][1], value[0])
    np.testing.assert_array_equal(other[1], labels[0])


def test_the_split_of_whole_alphabets():
    lists = omniglot.split_lists(split="leap")
    alphabets = {
        name: {entry.split("/")[0] for entry in members} for name, members in lists.items()
    }
    assert {name: len(found) for name, found in alphabets.items()} == {
        "train": 25,
        "val": 11,
        "test": 10,
    }
    assert len(set.union(*alphabets.values())) == 46
    assert not {"Tagalog", "Inuktitut_(Canadian_Aboriginal_Syllabics)"} & alphabets["train"]
    for members in lists.values():
        _, counts = np.unique([entry.split("/")[0] for entry in members], return_counts=True)
        assert set(counts) == {20}
        assert set(members) <= set(omniglot.characters())
        assert len(set(members)) == len(members)
    assert omniglot.split_lists(split="leap", seed=0) == lists
    assert omniglot.split_lists(split="leap", seed=1) != lists
