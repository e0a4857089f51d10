"""Episodes of variable size, and episodes within one superclass."""

import numpy as np
import pytest
from scipy import stats

from data_pipelines.samplers import hierarchical_episode, variable_episode
from tests.support.sampling_cases import class_of_rows, many, toy_split

SIZES = {"min_ways": 2, "max_ways": 4, "min_shots": 1, "max_shots": 3, "total_queries": 9}


@pytest.fixture(scope="module")
def split():
    return toy_split([9, 12, 8, 10, 9, 8, 15])


@pytest.fixture(scope="module")
def drawn(split):
    return many(variable_episode, split, 3000, **SIZES)


def shots_of(drawn: dict, ways: int) -> np.ndarray:
    """Support images of each label, [episodes, ways]."""
    mask, labels = drawn["support_mask"], drawn["support_labels"]
    return np.stack([np.sum(mask & (labels == j), axis=1) for j in range(ways)], axis=1)


def test_ways_and_shots_are_uniform(drawn):
    shots = shots_of(drawn, 4)
    ways = np.sum(shots > 0, axis=1)
    assert set(ways) == {2, 3, 4}
    assert stats.chisquare(np.bincount(ways)[2:]).pvalue > 0.01
    pairs = (shots[:, 0] - 1) * 3 + shots[:, 1] - 1  # two classes of one episode, independent
    assert stats.chisquare(np.bincount(pairs, minlength=9)).pvalue > 0.01
    # No gap: a class that is in the episode has its least number of shots.
    assert np.all((shots > 0) == (np.arange(4) < ways[:, None]))
    assert shots.max() == 3


def test_balanced_episodes_give_every_class_the_same_shots(split):
    shots = shots_of(many(variable_episode, split, 300, imbalanced=False, **SIZES), 4)
    each = shots[:, 0]
    assert set(each) == {1, 2, 3}
    assert np.all((shots == each[:, None]) | (shots == 0))


def test_padding_comes_last_and_repeats_the_first_image(drawn):
    mask = drawn["support_mask"]
    assert np.all(mask[:, 1:] <= mask[:, :-1])
    assert not mask.all()
    for name in ("support_indices", "support_class_ids"):
        first = np.broadcast_to(drawn[name][:, :1], mask.shape)
        assert np.array_equal(drawn[name][~mask], first[~mask])
    assert np.all(drawn["support_labels"][~mask] == 0)
    sorted_labels = np.where(mask, drawn["support_labels"], 9)
    assert np.all(np.diff(sorted_labels, axis=1) >= 0)


def test_rows_belong_to_their_classes_and_none_occurs_twice(split, drawn):
    for part in ("support", "query"):
        owners = class_of_rows(split, drawn[f"{part}_indices"])
        assert np.array_equal(owners, drawn[f"{part}_class_ids"])
    for i, mask in enumerate(drawn["support_mask"]):
        rows = np.concatenate([drawn["support_indices"][i][mask], drawn["query_indices"][i]])
        assert len(set(rows)) == len(rows)
        classes = dict(zip(drawn["support_labels"][i], drawn["support_class_ids"][i], strict=True))
        assert len(set(classes.values())) == len(classes)
        assert [classes[j] for j in drawn["query_labels"][i]] == drawn["query_class_ids"][
            i
        ].tolist()


def test_queries_are_spread_as_evenly_as_possible(drawn):
    ways = np.sum(shots_of(drawn, 4) > 0, axis=1)
    for labels, w in zip(drawn["query_labels"], ways, strict=True):
        counts = np.bincount(labels, minlength=w)
        assert len(counts) == w
        assert sorted(counts) == {2: [4, 5], 3: [3, 3, 3], 4: [2, 2, 2, 3]}[w]
        assert np.all(np.diff(labels) >= 0)


def test_classes_are_uniform(drawn):
    for label in range(2):
        first = drawn["support_labels"] == label
        ids = drawn["support_class_ids"][np.arange(3000), first.argmax(axis=1)]
        assert stats.chisquare(np.bincount(ids, minlength=7)).pvalue > 0.01


def test_an_episode_may_use_every_image_of_a_class():
    split = toy_split([8, 8, 8, 8])
    drawn = many(variable_episode, split, 50, **SIZES)  # 3 shots + ceil(9 / 2) queries
    assert drawn["query_indices"].shape == (50, 9)
    with pytest.raises(ValueError, match=r"'class1' .* has 7 images.* need 8 of a class"):
        variable_episode(toy_split([8, 7, 8, 8]), 0, 0, **SIZES)


def test_classes_of_an_episode_share_a_superclass():
    superclasses = [0, 1, 2, 0, 1, 0, 1, 2, 1]  # sizes 3, 4, 2
    split = toy_split([6] * 9, superclasses)
    drawn = many(hierarchical_episode, split, 3000, ways=3, shots=2, queries=3)
    assert "support_mask" not in drawn
    supers = split.superclasses[drawn["support_class_ids"]]
    assert np.all(supers == supers[:, :1])
    assert np.array_equal(split.superclasses[drawn["query_class_ids"]][:, :6], supers)
    # The superclass of two classes is too small; the others are drawn alike, whatever their size.
    assert stats.chisquare(np.bincount(supers[:, 0])).pvalue > 0.01
    assert set(supers[:, 0]) == {0, 1}
    large = drawn["support_class_ids"][supers[:, 0] == 1][:, 0]
    assert stats.chisquare(np.bincount(large)[[1, 4, 6, 8]]).pvalue > 0.01
    assert drawn["support_labels"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert drawn["query_labels"][0].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    rows = np.concatenate([drawn["support_indices"], drawn["query_indices"]], axis=1)
    assert all(len(set(row)) == 15 for row in rows)


def test_a_small_superclass_limits_the_ways():
    split = toy_split([9] * 9, [0, 1, 2, 0, 1, 0, 1, 2, 1])
    drawn = many(hierarchical_episode, split, 1500, ways=4, min_ways=2, total_queries=8)
    ways = np.sum(shots_of(drawn, 4) > 0, axis=1)
    supers = split.superclasses[drawn["support_class_ids"]][:, 0]
    assert [set(ways[supers == s]) for s in range(3)] == [{2, 3}, {2, 3, 4}, {2}]
    mask = drawn["support_mask"]
    of_all = split.superclasses[drawn["support_class_ids"]]
    assert np.all((of_all == supers[:, None])[mask])


def test_shots_alone_can_vary():
    split = toy_split([9] * 6, [0, 0, 0, 1, 1, 1])
    drawn = many(hierarchical_episode, split, 200, ways=3, shots=2, min_shots=1, queries=2)
    shots = shots_of(drawn, 3)
    assert set(shots.ravel()) == {1, 2}


def test_rotations_within_a_superclass():
    split = toy_split([5] * 24, np.repeat([0, 1], 12), rotations=4)
    drawn = many(hierarchical_episode, split, 300, ways=3, queries=2, rotations="episode")
    ids = drawn["support_class_ids"]
    assert all(len(set(row // 4)) == 3 for row in ids)
    assert set(ids.ravel()) == set(range(24))
    assert np.all(split.superclasses[ids] == split.superclasses[ids[:, :1]])


@pytest.mark.parametrize(
    ("sampler", "call", "message"),
    [
        (variable_episode, {"min_ways": 5, "max_ways": 4}, r"fewest ways \(5\).*most ways \(4\)"),
        (variable_episode, {"min_shots": 3, "max_shots": 2}, r"fewest shots \(3\)"),
        (variable_episode, {"max_ways": 10}, "10 ways asked of split 'train', which has 9 classes"),
        (variable_episode, {"total_queries": 0}, "total_queries must be a whole number"),
        (variable_episode, {"imbalanced": "no"}, "imbalanced must be True or False"),
        (hierarchical_episode, {"imbalanced": 0}, "imbalanced must be True or False"),
        (hierarchical_episode, {"ways": 5}, "5 ways asked within one .*'super1', has 4 classes"),
        (hierarchical_episode, {"ways": 2, "min_ways": 3}, r"fewest ways \(3\)"),
        (hierarchical_episode, {"ways": 3, "queries": 9}, "need 10 of a class"),
    ],
)
def test_impossible_episodes_are_refused(sampler, call, message):
    with pytest.raises(ValueError, match=message):
        sampler(toy_split([9] * 9, [0, 1, 2, 0, 1, 0, 1, 2, 1]), 0, 0, **call)


def test_a_superclass_that_is_never_drawn_may_have_small_classes():
    split = toy_split([6, 6, 6, 1], [0, 0, 0, 1])
    drawn = many(hierarchical_episode, split, 20, ways=3, shots=1, queries=5)
    assert set(drawn["support_class_ids"].ravel()) == {0, 1, 2}
