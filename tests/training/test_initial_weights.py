"""Weights that a learner begins with."""

import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.modgrad import ModGrad
from kfsl.learners.reptile import Reptile
from kfsl.runs.learner_file import file_fingerprint
from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.training import process as runtime
from kfsl.training import train as training
from kfsl.training.initial_weights import copy_initial_weights
from tests.support import letters
from tests.support.contract import generic


def backbone(filters=4):
    return Conv4(image_shape=letters.SHAPE, filters=filters, num_pools=2)


def modgrad(ways=3, filters=4):
    return ModGrad(backbone(filters), ways=ways, context_size=5, inner_batch=2)


@pytest.fixture
def trained(tmp_path):
    """A file with a Reptile learner whose weights, averages and seed are no initial ones."""
    learner = generic(Reptile(backbone(), ways=3, inner_batch=2))
    learner.draws.state.assign([7, 7])
    path = str(tmp_path / "trained.keras")
    learner.save(path)
    return learner, path


def test_what_two_learners_have_in_common_is_copied(trained):
    reptile, path = trained
    learner = modgrad()
    before = {weight.path: weight.numpy() for weight in learner.weights}
    found = copy_initial_weights(learner, path)
    common = {weight.path: weight.numpy() for weight in reptile.network.weights}
    assert set(found.copied) == set(common)
    assert "head/kernel" in common
    assert "block1_bn/moving_mean" in common
    for weight in learner.weights:
        expected = common.get(weight.path, before[weight.path])
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)
    cells = {path for path in before if "modulation_of" in path}
    assert set(found.own) == cells
    assert len(cells) == 2 * 8 + 2 * 4
    assert found.metadata["weights_copied"] == len(common)


def test_a_head_for_other_classes_is_left_alone(trained):
    learner = modgrad(ways=5)
    head = learner.network.get_layer("head").get_weights()
    found = copy_initial_weights(learner, trained[1])
    assert {"head/kernel", "head/bias"} <= set(found.own)
    for one, other in zip(learner.network.get_layer("head").get_weights(), head, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_kfsl_will_do(tmp_path):
    plain = keras.Sequential(
        [keras.Input(letters.SHAPE), keras.layers.Conv2D(4, 3, padding="same", name="block1_conv")]
    )
    plain.save(tmp_path / "plain.keras")
    found = copy_initial_weights(modgrad(), str(tmp_path / "plain.keras"))
    assert found.copied == ("block1_conv/kernel", "block1_conv/bias")


def test_refusals(trained, tmp_path):
    with pytest.raises(ValueError, match=r"no weight of the same name and shape as ModGrad: there"):
        copy_initial_weights(modgrad(ways=5, filters=6), trained[1])
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.keras' to start from"):
        copy_initial_weights(modgrad(), str(tmp_path / "none.keras"))
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        copy_initial_weights(modgrad(), str(tmp_path / "none"))
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="is damaged"):
        copy_initial_weights(modgrad(), str(damaged))
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="cannot be loaded to start from"):
        copy_initial_weights(modgrad(), str(tmp_path / "other.keras"))


@pytest.mark.parametrize("change", letters.DAMAGES)
def test_damage_is_named(trained, change):
    path = Path(trained[1])
    path.write_bytes(letters.DAMAGES[change](path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path} is damaged .*train again"):
        copy_initial_weights(modgrad(), str(path))


def test_what_is_loaded_is_what_is_fingerprinted(trained, tmp_path, monkeypatch):
    path = trained[1]
    earlier = file_fingerprint(path)
    later = str(tmp_path / "later.keras")
    modgrad().save(later)
    load = keras.saving.load_model

    def the_first_run_saves_meanwhile(*arguments, **named):
        model = load(*arguments, **named)
        shutil.move(later, path)
        return model

    monkeypatch.setattr(keras.saving, "load_model", the_first_run_saves_meanwhile)
    found = copy_initial_weights(modgrad(), path)
    assert found.fingerprint == earlier != file_fingerprint(path)


def test_a_run_starts_once_from_another(tmp_path):
    store = str(tmp_path / "letters")
    letters.write_letters(store)
    runtime.set_up(seed=1, deterministic=False)

    def train(name, learner, **arguments):
        run = RunDirectory(str(tmp_path / name))
        run.start(name)
        experiment = letters.experiment(store, learner=learner)
        sizes = {"steps_per_epoch": 2, "validation_episodes": 2}
        training.train(experiment, run, **sizes, **arguments).fit()
        return run

    first = train("first", letters.prototypical_network(seed=1), epochs=1)
    start = keras.saving.load_model(first.best_learner)
    still = {"optimizer": keras.optimizers.SGD(0.0), "start_from": first.path}
    second = train("second", letters.prototypical_network(seed=2), epochs=1, **still)
    for one, other in zip(
        keras.saving.load_model(second.best_learner).trainable_weights,
        start.trainable_weights,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert second.metadata["start_from"] == first.path
    assert len(second.metadata["start_from_weights"]) == 64
    # A resumed run does not need the first one any more.
    still = {**still, "optimizer": keras.optimizers.SGD(0.0), "start_from": "gone"}
    train("second", letters.prototypical_network(seed=3), epochs=2, **still)
    assert second.metadata["steps"] == 4


def test_a_run_that_is_missing_is_told_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as told:
        copy_initial_weights(modgrad(), "runs/dense_classification")
    assert str(told.value) == (
        "There is no run 'runs/dense_classification' to begin with: first train it with python -m "
        "kfsl.train --gin_file=gin/dense_classification.gin --run_dir=runs/dense_classification"
    )
