"""What `train` and `set_up` are given is checked where it enters."""

import functools
import re

import keras
import pytest

from data_pipelines.dataset import FewShotDataset
from data_pipelines.samplers import fixed_episode
from kfsl.figures import (
    attention_figure,
    class_activation_figure,
    episode_figure,
    feature_norms_figure,
    function_figure,
)
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.process import set_up
from kfsl.training.train import train
from tests.support import letters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "train.epochs must be a whole number of at least 1; received 0"),
        ({"epochs": 1.5}, "train.epochs must be a whole number of at least 0; received 1.5"),
        ({"epochs": True}, "train.epochs must be a whole number"),
        ({"epochs": -1, "start_from": "run"}, "of at least 0; received -1"),
        ({"steps_per_epoch": 0}, "train.steps_per_epoch must be a whole number of at least 1"),
        ({"meta_batch": 2.0}, "train.meta_batch must be a whole number of at least 1"),
        ({"validation_episodes": -1}, "train.validation_episodes must be a whole number"),
        ({"validation_episodes": 1}, "train.validation_episodes must be 0 or at least 2"),
        ({"validation_meta_batch": 0}, "train.validation_meta_batch must be a whole number"),
        ({"validation_every": 0}, "train.validation_every must be a whole number"),
        ({"validation_every": 3}, "train.validation_every = 3 is more than train.epochs = 2"),
        ({"figures_every": 0}, "train.figures_every must be a whole number"),
        ({"histograms_every": -1}, "train.histograms_every must be a whole number of at least 0"),
        ({"patience": 0}, "train.patience must be a whole number of at least 1; received 0"),
        ({"patience": 1.5}, "train.patience must be a whole number of at least 1; received 1.5"),
        ({"patience": 2, "validation_episodes": 0}, "waits for validations, and there are none"),
        ({"seed": 1.5}, "train.seed must be a whole number"),
        ({"seed": 2**64}, "train.seed must be a whole number from"),
        ({"seed": None}, "train.seed must be a whole number"),
        ({"start_from": 3}, "train.start_from must be a run directory or a .keras file"),
        ({"optimizer": "adam"}, "train.optimizer must be a Keras optimiser, such as @Adam()"),
        ({"optimizer": keras.optimizers.Adam}, "with its brackets"),
        ({"part_optimizers": [1]}, "train.part_optimizers must be a dict"),
        ({"part_optimizers": {"a": 1}}, "train.part_optimizers['a'] must be a Keras optimiser"),
        ({"jit_compile": "yes"}, "train.jit_compile must be True or False; received 'yes'"),
        ({"callbacks": [print]}, "train.callbacks must be a tuple of Keras callbacks"),
        ({"figures": print}, "train.figures must be a tuple of functions"),
        ({"keep_epochs": (3,)}, "train.keep_epochs must be a tuple of epochs from 1 to"),
        ({"keep_epochs": (0,)}, "train.keep_epochs must be a tuple of epochs from 1 to"),
        ({"keep_epochs": 2}, "received 2"),
        ({"profile_steps": 3}, "train.profile_steps must be the first and the last step"),
        ({"profile_steps": (4, 3)}, "train.profile_steps must be the first and the last step"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_argument_out_of_range_is_named(store, tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    with pytest.raises(ValueError, match=re.escape(message)):
        train(letters.experiment(store), run, **{"epochs": 2, **arguments})
    assert not run.exists


def undrawable(learner, episode, query_labels, class_names):
    return learner.no_such_attribute


@pytest.mark.parametrize(
    ("figure", "reason"),
    [
        (attention_figure, r"PrototypicalNetwork has no attention to draw"),
        (class_activation_figure, r"has no class activation maps"),
        (function_figure, r"KeyError: 'query_inputs'"),
        (feature_norms_figure, r"TypeError: "),
        (undrawable, r"AttributeError: .*no_such_attribute"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_told_before_a_run_begins(store, tmp_path, figure, reason):
    run = RunDirectory(str(tmp_path / "run"))
    message = rf"train\.figures: {figure.__name__} cannot be drawn of this Proto.*{reason}"
    with pytest.raises(ValueError, match=message):
        train(letters.experiment(store), run, epochs=2, figures=(episode_figure, figure))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("role", ["sampler", "evaluation_sampler"])
def test_episodes_of_one_class_are_refused(store, tmp_path, role):
    experiment = letters.experiment(store)
    setattr(experiment, role, functools.partial(fixed_episode, ways=1, shots=1, queries=4))
    run = RunDirectory(str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"must have 2 ways or more.*received ways=1.*WAYS=2"):
        train(experiment, run)
    if role == "evaluation_sampler":
        train(experiment, run, validation_episodes=0)
    assert not run.exists


def test_patience_without_a_split_to_validate_on(store, tmp_path):
    experiment = letters.experiment(store)
    splits = {name: classes for name, classes in letters.SPLITS.items() if name != "val"}
    experiment.dataset = FewShotDataset("letters", experiment.dataset.store, splits)
    with pytest.raises(ValueError, match="waits for validations, and there are none"):
        train(experiment, RunDirectory(str(tmp_path / "run")), patience=2)


@pytest.mark.parametrize(
    ("episodes", "meta_batch", "sizes"),
    [(8, 4, [4, 4]), (3, 4, [3]), (10, 4, [2] * 5), (7, 4, [1] * 7)],
)
def test_as_many_episodes_are_validated_as_are_asked_for(
    store, tmp_path, episodes, meta_batch, sizes
):
    session = train(
        letters.experiment(store),
        RunDirectory(str(tmp_path / "run")),
        validation_episodes=episodes,
        validation_meta_batch=meta_batch,
    )
    assert [len(labels) for _, labels in session._validation] == sizes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": -1}, "set_up.threads must be a whole number from 0 to 1024; received -1"),
        ({"threads": 10**6}, "set_up.threads must be a whole number from 0 to 1024"),
        ({"threads": 1.5}, "set_up.threads must be a whole number"),
        ({"seed": -1}, "set_up.seed must be a whole number from 0"),
        ({"seed": 2**32}, "set_up.seed must be a whole number from 0"),
        ({"precision": "float23"}, "set_up.precision must be one of float32"),
        ({"deterministic": 1}, "set_up.deterministic must be True or False; received 1"),
        ({"graph_rewriting": "no"}, "set_up.graph_rewriting must be True or False"),
    ],
)
def test_the_process_is_set_up_from_sound_arguments(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        set_up(**arguments)
