"""A learner's file: what is loaded is what is fingerprinted, and what does not fit is told."""

import shutil

import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.maml import MAML
from kfsl.runs.learner_file import file_fingerprint, load_weights
from tests.support import letters


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "learner.keras"
    letters.prototypical_network(seed=1).save(path)
    return path


def maml(ways: int = 5, filters: int = 4) -> MAML:
    return MAML(Conv4(image_shape=letters.SHAPE, filters=filters, num_pools=2), ways=ways)


def test_what_is_loaded_is_what_is_fingerprinted(file, tmp_path):
    expected = letters.prototypical_network(seed=1).get_weights()
    earlier = file_fingerprint(str(file))
    later = tmp_path / "later.keras"
    letters.prototypical_network(seed=2).save(later)
    learner = letters.prototypical_network(seed=3)
    load = learner.load_weights

    def training_saves_meanwhile(path):
        shutil.move(later, file)
        load(path)

    learner.load_weights = training_saves_meanwhile
    assert load_weights(learner, str(file)) == earlier != file_fingerprint(str(file))
    for weight, value in zip(learner.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    ("filters", "ways", "there", "here"),
    [
        (4, 10, "MAML with ways=5;", "ways=10"),
        (8, 5, "MAML with filters=4;", "filters=8"),
    ],
)
def test_other_shapes_are_no_damage(tmp_path, filters, ways, there, here):
    path = str(tmp_path / "learner.keras")
    maml().save(path)
    with pytest.raises(ValueError, match="do not fit") as refused:
        load_weights(maml(ways, filters), path)
    message = str(refused.value)
    assert path in message
    assert there in message
    assert here in message
    assert "damaged" not in message
    assert "Leave out the bindings" in message


def test_another_learner_is_named(file):
    with pytest.raises(
        ValueError, match="the weights of PrototypicalNetwork, and the configuration makes MAML"
    ):
        load_weights(maml(), str(file))


@pytest.mark.parametrize("change", letters.DAMAGES)
def test_damage_is_named(file, change):
    file.write_bytes(letters.DAMAGES[change](file.read_bytes()))
    with pytest.raises(ValueError, match=rf"{file} is damaged .*train again"):
        load_weights(letters.prototypical_network(), str(file))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.keras"):
        load_weights(letters.prototypical_network(), str(tmp_path / "no.keras"))
