"""Training: resuming with the same bits, stopping, what a run leaves behind."""

import functools
import inspect
import json
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.samplers import fixed_episode
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import process as runtime
from kfsl.training import train as training
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.kept_learners import KeptLearners
from kfsl.training.train_arguments import TrainArguments
from kfsl.training.training_episodes import validation_episodes
from kfsl.training.training_session import TrainingError
from tests.support import forked, letters

PROCESS = str(Path(__file__).parents[1] / "support" / "training_process.py")
CHECKOUT = str(Path(__file__).parents[2])

#: What no two trainings have alike.
TIMES = ("seconds", "steps_per_second", "validation_seconds")


def run_process(store, run_dir, *arguments):
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    return forked.python([PROCESS, store, str(run_dir), "6", *arguments], env=environment)


def checkpoint_values(run_dir):
    path = tf.train.latest_checkpoint(os.path.join(run_dir, "checkpoints"))
    reader = tf.train.load_checkpoint(path)
    names = sorted(reader.get_variable_to_shape_map())
    return {n: reader.get_tensor(n) for n in names if "OBJECT_GRAPH" not in n}


def metrics(run_dir):
    with open(os.path.join(run_dir, "metrics.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.mark.long
def test_a_killed_run_ends_with_the_same_bits(store, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished = run_process(store, whole)
    assert finished.returncode == 0, finished.stderr
    assert run_process(store, killed, "--die-in-epoch=1").returncode == -signal.SIGKILL
    assert not os.path.exists(killed / "best" / "learner.keras")
    assert run_process(store, killed, "--die-after-epoch=2").returncode == -signal.SIGKILL
    assert len(metrics(killed)) == 1
    assert run_process(store, killed, "--die-in-epoch=4").returncode == -signal.SIGKILL
    assert len(metrics(killed)) == 3
    resumed = run_process(store, killed)
    assert resumed.returncode == 0, resumed.stderr

    expected, actual = checkpoint_values(whole), checkpoint_values(killed)
    assert expected.keys() == actual.keys()
    # Weights, moving averages, Adam's moments, Dropout's seed, best score and patience.
    assert len(expected) > 40
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
    assert metrics(killed) == metrics(whole)
    best = [keras.saving.load_model(run / "best" / "learner.keras") for run in (whole, killed)]
    for one, other in zip(best[0].get_weights(), best[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    return run


def train(store, run, bn_policy="running", **arguments):
    runtime.set_up(seed=1, deterministic=False)
    operative = arguments.pop("operative", "")
    defaults = {"epochs": 2, "steps_per_epoch": 4, "validation_episodes": 8}
    learner = letters.prototypical_network(seed=1, bn_policy=bn_policy)
    experiment = letters.experiment(store, learner=learner)
    return training.train(experiment, run, **{**defaults, **arguments}).fit(operative)


def arguments(**values):
    """What `train` takes, its defaults where nothing is said."""
    parameters = inspect.signature(training.train).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}
    return TrainArguments(**{**defaults, **values})


def test_what_a_run_leaves_behind(store, run):
    logs = train(store, run, operative="WAYS = 3\n")
    for path in (run.config_path, run.operative_path, run.best_learner, run.tensorboard):
        assert os.path.exists(path), path
    lines = metrics(run.path)
    assert [line["step"] for line in lines] == [4, 8]
    expected = {"loss", "task_loss", "accuracy", "accuracy_interval", "gradient_norm"}
    expected |= {"val_loss", "val_accuracy", "val_accuracy_interval", "learning_rate"}
    assert expected | {"weight_norm", "step", "epoch"} == set(lines[0])
    assert lines[-1]["val_accuracy"] == logs["val_accuracy"]
    metadata = run.metadata
    assert metadata["steps"] == 8
    assert metadata["seed"] == 0
    assert metadata["dataset_fingerprint"] == letters.letters(store).fingerprint
    assert metadata["training_seconds"] > 0
    assert {"commit", "versions", "machine", "threads", "onednn", "finished"} <= metadata.keys()


def test_each_call_is_recorded(store, run):
    train(store, run, epochs=1)
    train(store, run, epochs=2)
    sessions = run.metadata["sessions"]
    assert len(sessions) == 2
    told = {"commit", "threads", "onednn", "command_line", "started"}
    assert all(told <= each.keys() for each in sessions)


def test_other_kernels_are_told(store, run, capsys):
    train(store, run, epochs=1)
    (session,) = run.metadata["sessions"]
    run.update_metadata({"sessions": [session | {"onednn": not session["onednn"]}]})
    capsys.readouterr()
    train(store, run, epochs=2)
    assert "Mind that onednn was" in capsys.readouterr().out


def test_a_second_call_trains_nothing(store, run):
    train(store, run)
    before = metrics(run.path)
    assert train(store, run) == {}
    assert metrics(run.path) == before


def test_the_best_learner_is_the_one_that_validated_best(store, run):
    train(store, run, epochs=6, optimizer=keras.optimizers.SGD(3.0))
    scores = [line["val_accuracy"] for line in metrics(run.path)]
    assert scores[-1] < max(scores), "the rate should make the last epoch worse"
    best = letters.experiment(store, learner=keras.saving.load_model(run.best_learner))
    best.learner.compile()
    validation = validation_episodes(best, arguments(validation_episodes=8))
    again = best.learner.evaluate(validation, verbose=0, return_dict=True)
    assert again["accuracy"] == pytest.approx(max(scores), abs=1e-6)


def test_patience_ends_training(store, run):
    # Nothing is learnt at a rate of 0, and moving averages play no part.
    arguments = {"epochs": 30, "patience": 2, "bn_policy": "support"}
    train(store, run, optimizer=keras.optimizers.SGD(0.0), **arguments)
    assert len(metrics(run.path)) == 3
    assert train(store, run, optimizer=keras.optimizers.SGD(0.0), **arguments) == {}


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN in some step of an epoch of four."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.step:
            weight = self.model.trainable_weights[0]
            weight.assign(weight * float("nan"))


@pytest.mark.parametrize("step", [1, 3])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(store, run, step):
    train(store, run, epochs=1)
    saved = checkpoint_values(run.path)
    with pytest.raises(TrainingError, match="no longer finite in epoch 2"):
        train(store, run, epochs=3, callbacks=[Poison(step)])
    for name, value in checkpoint_values(run.path).items():
        np.testing.assert_array_equal(value, saved[name])
    best = keras.saving.load_model(run.best_learner)
    assert all(np.all(np.isfinite(weight)) for weight in best.get_weights())


def test_tensorboard_shows_curves_figures_and_configuration(store, run):
    from kfsl.figures.episode import episode_figure

    train(
        store, run, epochs=1, figures=(episode_figure,), histograms_every=1,
        operative="train.epochs = 1\n",
    )  # fmt: skip
    tags = set()
    for folder in ("train", "validation"):
        directory = os.path.join(run.tensorboard, folder)
        for name in os.listdir(directory):
            for event in tf.compat.v1.train.summary_iterator(os.path.join(directory, name)):
                tags |= {value.tag for value in event.summary.value}
    expected = {"epoch_loss", "epoch_accuracy", "epoch_accuracy_interval", "epoch_gradient_norm"}
    expected |= {"epoch_learning_rate", "epoch_steps_per_second", "epoch_weight_norm"}
    expected |= {"episode_figure", "operative.gin", "_hparams_/session_start_info"}
    assert expected <= tags
    assert any("kernel/histogram" in tag for tag in tags), tags


def test_epochs_without_validation_count_for_nothing(store, run):
    train(store, run, epochs=5, validation_every=2, bn_policy="support",
          optimizer=keras.optimizers.SGD(0.0), patience=2)  # fmt: skip
    lines = metrics(run.path)
    assert [line["epoch"] for line in lines if "val_accuracy" in line] == [2, 4]
    best = BestLearner(str(run.path + "/judged.keras"), patience=2)
    best.set_model(letters.prototypical_network())
    for epoch, score in enumerate((0.9, None, 0.5, None, 0.4)):
        best.on_epoch_end(epoch, {} if score is None else {"val_accuracy": score})
    assert (best.best, best.waited, best.exhausted) == (0.9, 2, True)


def test_data_that_changed_since_are_refused(store, run, tmp_path):
    train(store, run)
    other = str(tmp_path / "letters")
    letters.write_letters(other, noise=10.0)
    with pytest.raises(ValueError, match="begun on other data"):
        train(other, run, epochs=4)


@pytest.mark.parametrize("name", ["epochs", "steps_per_epoch", "meta_batch", "validation_every"])
def test_sizes_are_positive(store, run, name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        train(store, run, **{name: 0})


def test_a_binding_profiles_steps(tmp_path):
    bindings = {"epochs": 1, "steps_per_epoch": 4, "meta_batch": 2, "profile_steps": (2, 3)}
    line = ["-m", "kfsl.train", "--gin_file=gin/regression/sinusoids_maml.gin", "--run_dir=run"]
    line += [f"--gin_param=train.{name} = {value}" for name, value in bindings.items()]
    # A process of its own: once it has profiled, TensorFlow keeps every graph that it is given.
    done = forked.python(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": CHECKOUT})
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run/tensorboard").rglob("*.xplane.pb"))


def test_more_ways_than_the_split_has(store, run):
    experiment = letters.experiment(
        store, sampler=functools.partial(fixed_episode, ways=9, shots=1, queries=1)
    )
    with pytest.raises(ValueError, match=r"9.*5|5.*9"):
        training.train(experiment, run)


def test_another_learners_checkpoint_is_refused(store, run):
    train(store, run)
    wider = letters.prototypical_network()
    wider.backbone = letters.Conv4(image_shape=letters.SHAPE, filters=6, num_pools=2)
    with pytest.raises(ValueError, match="does not fit this learner"):
        training.train(letters.experiment(store, learner=wider), run, epochs=3)


def test_a_learner_that_diverged_is_not_kept(tmp_path):
    learner = letters.prototypical_network()
    kept = KeptLearners({1: str(tmp_path / "kept.keras")})
    kept.set_model(learner)
    learner.weights[0].assign(np.full(learner.weights[0].shape, np.nan))
    kept.on_epoch_end(0)
    assert list(tmp_path.iterdir()) == []


def test_epochs_that_are_asked_for_are_kept(store, tmp_path):
    runs = {epochs: RunDirectory(str(tmp_path / str(epochs))) for epochs in (1, 3)}
    for epochs, run in runs.items():
        keep = (1, 3) if epochs == 3 else ()
        arguments = {"steps_per_epoch": 2, "validation_episodes": 0, "keep_epochs": keep}
        training.train(letters.experiment(store), run, epochs=epochs, **arguments).fit()
    kept = sorted(os.listdir(os.path.dirname(runs[3].kept_learner(1))))
    assert kept == ["epoch_00001.keras", "epoch_00003.keras"]
    # Without validation the latest learner is the best one.
    for file, run in ((runs[3].kept_learner(1), runs[1]), (runs[3].kept_learner(3), runs[3])):
        one, other = (keras.saving.load_model(path) for path in (file, run.best_learner))
        for value, expected in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(value, expected)
