"""Training policies: what it writes, that it resumes to the bit, and what it refuses."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_pipelines.class_split import SPLITS
from kfsl.backbones.mlp import MLP
from kfsl.learners import MAML, Reptile
from kfsl.reinforcement import Navigation, PolicyExperiment, PolicyGradient
from kfsl.reinforcement.environment import noise_seed
from kfsl.reinforcement.evaluate_policy import check_finite, evaluate_policy
from kfsl.reinforcement.policy_session import _line, _paths
from kfsl.reinforcement.train_policy import train_policy
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import paired_difference
from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.training.training_session import TrainingError
from tests.support import forked, policy_process
from tests.support.policies import KINDS, experiment, policy
from tests.training.test_train import TIMES

SMALL = {"iterations": 2, "tasks": 2, "validation_every": 2, "validation_tasks": 2}

ONE_STEP = {"objective": PolicyGradient(2), "steps": 1}


def run_process(run_dir, *death):
    return forked.python([policy_process.__file__, str(run_dir), *death])


def lines(run_dir):
    text = (Path(run_dir) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def told(run_dir):
    """What was measured, without the time it took."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines(run_dir)]


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_process(whole).returncode == 0
    for iteration in ("2", "5"):
        assert run_process(killed, iteration).returncode == -signal.SIGKILL
    # The last checkpoint is that of iteration 4.
    assert len(lines(killed)) == 4
    assert run_process(killed).returncode == 0
    assert told(killed) == told(whole)
    assert len(told(whole)) == 6
    weights = [
        keras.saving.load_model(folder / "best" / "learner.keras").get_weights()
        for folder in (whole, killed)
    ]
    for expected, found in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    metadata = RunDirectory(str(killed)).metadata
    assert metadata["steps"] == 6
    assert len(metadata["sessions"]) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_and_writes_what_it_found(kind, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("")
    trained = experiment(kind)
    before = trained.learner.get_weights()
    session = train_policy(trained, run, **SMALL)
    assert not session.done
    logs = session.fit("# made by a test")
    assert session.done
    assert session.fit() == {}
    moved = [np.any(a != b) for a, b in zip(before, trained.learner.get_weights(), strict=True)]
    # Of a context of zeros the first kernels of ModGrad's cells have hardly a gradient.
    assert np.mean(moved) > 0.8
    assert 0 < logs["divergence"] < 0.01
    assert {"return_before", "return", "gradient_norm", "val_return", "val_return_before"} < set(
        logs
    )
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "train")).Reload()
    assert set(logs) | {"operative.gin"} <= set(events.Tags()["tensors"])
    pictures = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "validation")).Reload()
    assert pictures.Tags()["tensors"] == ["navigation"]
    again = train_policy(experiment(kind), run, **SMALL)
    assert again.done


def test_returns_grow_where_a_policy_can_learn(tmp_path):
    """Thirty steps of ten: at first it hardly moves towards a goal, then it does."""
    run = RunDirectory(str(tmp_path / "run"))
    run.start("")
    trained = experiment(horizon=10, rollouts=10, activation="relu")
    session = train_policy(
        trained, run, iterations=30, tasks=4, validation_every=30, validation_tasks=20
    )
    start = evaluate_policy(trained, split="val", episodes=20, seed=0, updates=1)
    session.fit()
    end = evaluate_policy(trained, split="val", episodes=20, seed=0, updates=1)
    # Ten steps cost 0.4 each where it stays.
    gain = np.subtract(end.values, start.values)
    assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(20)


def test_evaluation_updates_on_what_each_policy_gathered(tmp_path):
    found = evaluate_policy(experiment(), episodes=3, updates=2)
    assert found.values == found.after_updates[1]
    assert [len(values) for values in found.after_updates] == [3, 3, 3]
    assert found.summary() == (
        f"test: 3 rollouts an update, 3 tasks: return {found.mean:.2f} ± {found.interval:.2f}"
    )
    assert len(found.update_lines()) == 3
    assert evaluate_policy(experiment(), episodes=3, updates=2).after_updates == (
        found.after_updates
    )
    found.save(tmp_path / "test.json")
    assert Evaluation.load(tmp_path / "test.json") == found
    still = evaluate_policy(experiment(inner_rate=0.0), episodes=3, updates=2)
    gaps = np.subtract(found.values, still.values)
    difference = paired_difference(found, still)
    assert difference.mean == pytest.approx(gaps.mean())
    assert difference.summary().startswith("difference on the same 3 tasks: ")
    with pytest.raises(ValueError, match="episodes must be a whole number of at least 2"):
        evaluate_policy(experiment(), episodes=1)


def test_a_policy_that_diverges_is_not_measured(tmp_path):
    """Its weights are finite: an update makes them overflow."""
    diverging = experiment(inner_rate=1e30)
    with pytest.raises(ValueError, match=r"after 1 updates is not finite: it diverged\. Lower"):
        evaluate_policy(diverging, episodes=2)
    session = train_policy(diverging, RunDirectory(str(tmp_path / "run")), **SMALL)
    with pytest.raises(TrainingError, match=r"In validation: .* after 1 updates is not finite"):
        session._validated()


@pytest.mark.parametrize(("rate", "columns"), [(0.1, 3), (1e30, 1)])
def test_pictures_end_where_a_policy_diverges(rate, columns):
    assert len(_paths(experiment(inner_rate=rate), seed=0).axes) == 3 * columns


def test_numbers_that_a_finite_return_hides_are_seen():
    acted = experiment().act(experiment().start(2), np.zeros((2, 2), "float32"), (0, 0))
    check_finite([acted, acted])
    hidden = dataclasses.replace(acted, actions=acted.actions * np.inf)
    with pytest.raises(ValueError, match="after 1 updates is not finite"):
        check_finite([acted, hidden])


def test_a_refused_step_is_told():
    logs = {"return_before": -9.0, "return": -8.0, "divergence": 0.004, "refused": 0.0}
    assert _line(1, 2, logs) == "Iteration 1/2: return -9.00 -> -8.00, divergence 0.0040"
    assert _line(1, 2, {**logs, "refused": 1.0}).endswith(", step refused")


def test_later_updates_go_a_share_of_the_way():
    """MAML's authors halve the rate after the first update."""
    trained = experiment(inner_rate=0.4)
    goals = trained.environment.draw_tasks(np.random.default_rng(0), 2)
    start = trained.start(2)
    gathered = trained.experience(trained.act(start, goals, (0, 0)))
    half = trained.adapted(start, gathered, 0.5)
    slow = experiment(inner_rate=0.2)
    for key, value in slow.adapted(slow.start(2), gathered).items():
        np.testing.assert_allclose(half[key], value, atol=1e-6)


def test_streams_share_neither_tasks_nor_noise():
    """Validation does not meet the noise of training, nor the test that of validation."""
    seeds = [noise_seed(0, stream, n) for stream in SPLITS for n in range(50)]
    assert len(set(seeds)) == 150
    assert noise_seed(0, "train", 7) == noise_seed(0, "train", 7) != noise_seed(1, "train", 7)
    found = [evaluate_policy(experiment(), split=split, episodes=2) for split in ("val", "test")]
    assert found[0].values != found[1].values


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("")
    arguments = {**SMALL, "iterations": 4, "checkpoint_every": 1}
    train_policy(experiment(), run, **{**arguments, "iterations": 3}).fit()
    run.reopen()
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunDirectoryError, match="checkpoint or best policy is gone"):
        train_policy(experiment(), run, **arguments)


def test_another_environment_is_refused(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("")
    train_policy(experiment(), run, **SMALL).fit()
    with pytest.raises(ValueError, match="was begun in another environment than Navigation"):
        train_policy(experiment(horizon=7), run, **{**SMALL, "iterations": 3})
    (tmp_path / "run" / "best" / "learner.keras").unlink()
    with pytest.raises(RunDirectoryError, match="checkpoint or best policy is gone"):
        train_policy(experiment(), run, **SMALL)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyExperiment(policy(), Navigation(), rollouts=0),
         r"PolicyExperiment\.rollouts must be a whole number of at least 1; received 0"),
        (lambda: PolicyExperiment(policy(), Navigation(), rollouts=2.5),
         r"PolicyExperiment\.rollouts must be a whole number of at least 1; received 2\.5"),
        (lambda: PolicyExperiment(policy(), Navigation(), discount=1.5), r"`discount` must lie in"),
        (lambda: PolicyExperiment(policy(objective=PolicyGradient(3)), Navigation()),
         "shows 2 numbers and takes 2; the policy takes inputs of shape .* and gives 3"),
        (lambda: experiment(evaluation_steps=3), "acts after as many steps as it is trained by"),
        (lambda: experiment(inner_batch=2), "leave inner_batch, augmentation and gradient_noise"),
        (lambda: experiment(weight_decay=0.1), "knows no weight decay; received weight_decay=0.1"),
        (lambda: PolicyExperiment(
            Reptile(MLP((2,)), objective=PolicyGradient(2)), Navigation()),
         "Reptile does not differentiate through its adaptation"),
        (lambda: PolicyExperiment(
            MAML(keras.Sequential([*MLP((2,)).layers, keras.layers.Dropout(0.5)]), **ONE_STEP),
            Navigation()),
         "must do the same in both; received one with the variable .*seed"),
        (lambda: PolicyExperiment(
            MAML(keras.Sequential([*MLP((2,)).layers, keras.layers.BatchNormalization()]),
                 require_exact=False, **ONE_STEP),
            Navigation()),
         "must do the same in both; received one with the variable .*moving_mean"),
        (lambda: Navigation(horizon=2.5), r"Navigation\.horizon must be a whole number"),
        (lambda: Navigation(reach=0.0), "`reach` and `spread` must be positive"),
        (lambda: evaluate_policy(experiment(), split="tset"), "received split='tset'"),
        (lambda: evaluate_policy(experiment(), later_share=2.0), r"later_share must lie in"),
        (lambda: train_policy(experiment(), RunDirectory("none"), tasks=0),
         "train_policy.tasks must be a whole number of at least 1"),
        (lambda: train_policy(experiment(), RunDirectory("none"), trust_region=0.01),
         "trust_region must be a TrustRegion"),
    ],
    ids=["rollouts", "part of a rollout", "discount", "actions", "steps", "batch", "decay",
         "Reptile", "dropout", "moving average", "horizon", "reach", "split", "share", "tasks",
         "trust region"],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_strategy_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.distribute, "has_strategy", lambda: True)
    with pytest.raises(ValueError, match=r"leave set_up\.strategy out"):
        train_policy(experiment(), RunDirectory(str(tmp_path / "run")), iterations=1)
    assert not (tmp_path / "run").exists()
