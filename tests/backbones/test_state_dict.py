"""PyTorch's files of weights, read without PyTorch."""

import os
import pickle

import numpy as np
import pytest

from kfsl.backbones.state_dict import read_state_dict
from tests.support.state_dicts import write_state_dict

ARRAYS = {
    "conv.weight": np.arange(24, dtype="float32").reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": np.array(7),
    "bn.running_mean": np.linspace(-1, 1, 3),
}


@pytest.fixture
def file(tmp_path):
    write_state_dict(tmp_path / "weights.pth", ARRAYS)
    return tmp_path / "weights.pth"


def test_it_reads_the_tensors(file):
    found = read_state_dict(file)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("end", [3, 60, -1])
def test_a_cut_file_is_told(file, end):
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(ValueError, match="is no state dict that can be read here"):
        read_state_dict(file)


class Malicious:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_what_a_pickle_asks_for_is_not_done(file, tmp_path):
    """Wherever in the file it stands."""
    whole = file.read_bytes()
    attack = pickle.dumps(Malicious(tmp_path / "made"), protocol=2)
    header = b"".join(
        pickle.dumps(part, protocol=2)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    assert whole.startswith(header)
    for content in (attack, header + attack):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="mkdir, which is no part of a state dict"):
            read_state_dict(file)
    assert not (tmp_path / "made").exists()


def test_another_file_is_told(file):
    file.write_bytes(b"PK\x03\x04 a zip, as PyTorch writes today")
    with pytest.raises(ValueError, match="_use_new_zipfile_serialization=False"):
        read_state_dict(file)
    with pytest.raises(FileNotFoundError):
        read_state_dict(file.parent / "nothing.pth")
