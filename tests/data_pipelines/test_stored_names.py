"""Names that lie on disk."""

import numpy as np
import pytest

from data_pipelines.stored_names import StoredNames

NAMES = ("Alpha", "", "\u03b2\u03ae\u03c4\u03b1", "delta/\U0001f40d")


@pytest.fixture
def names():
    return StoredNames.of(NAMES)


def test_it_is_the_sequence_of_its_names(names):
    assert len(names) == 4
    assert tuple(names) == NAMES == tuple(names[i] for i in range(4))
    assert names[-1] == NAMES[-1]
    assert names[np.int64(2)] == NAMES[2]
    assert names == NAMES
    assert names == list(NAMES)
    assert names != NAMES[:3]
    assert names != "Alpha"
    assert NAMES[2] in names
    assert names.index(NAMES[3]) == 3
    for index in (4, -5):
        with pytest.raises(IndexError):
            names[index]


def test_parts_know_where_they_stand(names):
    assert names[1:] == NAMES[1:]
    assert names[::2] == NAMES[::2]
    chosen = names[np.array([3, 0])]
    assert chosen == (NAMES[3], NAMES[0])
    assert chosen.rows.tolist() == [3, 0]
    assert chosen[::-1] == (NAMES[0], NAMES[3])
    assert chosen[[-1]].rows.tolist() == [0]
    assert names[[]] == ()
    assert names.rows.tolist() == [0, 1, 2, 3]


def test_it_prints_a_few(names):
    assert repr(names) == "StoredNames('Alpha', '', 'βήτα', ...; 4 in all)"


def test_nothing_is_decoded_before_it_is_asked_for():
    broken = StoredNames(np.array([0x61, 0xC3, 0x28], np.uint8), np.array([1, 3]))
    assert broken[:1] == ("a",)
    assert broken[0] == "a"
    assert broken[1] == "\udcc3("  # as file names are, whatever their bytes
