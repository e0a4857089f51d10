"""Beginning, going on and ending: one training at a time, and nothing lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.runs.training_lock import TrainingLock
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.process import set_up
from kfsl.training.train import train
from kfsl.training.training_session import TrainingError
from tests.support import letters
from tests.training.test_train import checkpoint_values, metrics

CHECKOUT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A run of two epochs, to copy."""
    path = str(tmp_path_factory.mktemp("runs") / "trained")
    session(store, path).fit()
    return path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run of two epochs."""
    return RunDirectory(shutil.copytree(trained, str(tmp_path / "run")))


def session(store, path, seed=1, **arguments):
    set_up(seed=seed, deterministic=False)
    run = RunDirectory(path)
    run.start("WAYS = 3\n")
    defaults = {"epochs": 2, "steps_per_epoch": 2, "validation_episodes": 4}
    experiment = letters.experiment(store, learner=letters.prototypical_network(seed=seed))
    return train(experiment, run, **{**defaults, **arguments})


def files(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(Path(path).rglob("*"))
        if file.is_file()
    }


# === More epochs ===


def test_a_finished_run_goes_on_to_more_epochs_with_the_same_bits(store, run, tmp_path):
    assert run.metadata["steps"] == 4
    session(store, run.path, seed=2, epochs=4).fit()
    straight = str(tmp_path / "straight")
    session(store, straight, epochs=4).fit()
    expected, actual = checkpoint_values(straight), checkpoint_values(run.path)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
    assert metrics(run.path) == metrics(straight)
    assert run.metadata["steps"] == 8


def test_a_run_that_goes_on_is_not_finished_until_it_ends(store, run, monkeypatch):
    def die(*arguments, **named):
        raise KeyboardInterrupt

    going_on = session(store, run.path, epochs=4)
    monkeypatch.setattr(type(going_on._learner), "fit", die)
    with pytest.raises(KeyboardInterrupt):
        going_on.fit()
    assert not {"finished", "steps"} & run.metadata.keys()


def test_what_was_killed_before_its_end_was_told_is_told_by_the_next_call(store, run):
    told = run.metadata
    run.reopen()
    assert not run.finished
    again = session(store, run.path)
    assert not run.finished, "constructed, a session writes nothing"
    assert again.done
    assert again.fit() == {}
    assert run.finished
    assert {k: v for k, v in run.metadata.items() if k != "finished"} == {
        k: v for k, v in told.items() if k != "finished"
    }
    # Once is enough, and another may train into it now.
    ended = run.metadata["finished"]
    assert again.fit() == {}
    assert run.metadata["finished"] == ended
    assert TrainingLock(run.lock_path).acquire() is None


# === No epochs ===


def test_no_epochs_take_over_another_runs_weights(store, trained, tmp_path):
    path = str(tmp_path / "taken")
    taking = session(store, path, seed=2, epochs=0, start_from=trained)
    assert not taking.done
    logs = taking.fit()
    assert taking.done
    taken = RunDirectory(path)
    best = RunDirectory(trained).best_learner
    for one, other in zip(
        keras.saving.load_model(taken.best_learner).get_weights(),
        keras.saving.load_model(best).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert logs["val_accuracy"] == max(line["val_accuracy"] for line in metrics(trained))
    assert metrics(path) == [{"step": 0, "epoch": 0, **logs}]
    assert taken.metadata["steps"] == 0
    assert {"finished", "start_from", "start_from_weights"} <= taken.metadata.keys()
    # Once is enough, and the first run is not needed any more.
    again = session(store, path, epochs=0, start_from="gone")
    assert again.done
    assert again.fit() == {}


def test_no_epochs_that_were_killed_are_told_once(store, trained, tmp_path):
    path = str(tmp_path / "taken")
    session(store, path, epochs=0, start_from=trained).fit()
    shutil.rmtree(RunDirectory(path).checkpoints)
    metadata = RunDirectory(path).metadata
    del metadata["finished"]
    Path(path, "metadata.json").write_text(json.dumps(metadata))
    session(store, path, epochs=0, start_from=trained).fit()
    assert len(metrics(path)) == 1


def test_weights_that_are_not_numbers_are_not_taken_over(store, tmp_path):
    learner = letters.prototypical_network()
    learner.trainable_weights[0].assign(learner.trainable_weights[0] * float("nan"))
    learner.save(str(tmp_path / "nan.keras"))
    with pytest.raises(ValueError, match="is not finite: that training diverged"):
        session(store, str(tmp_path / "run"), epochs=0, start_from=str(tmp_path / "nan.keras"))


# === What is there is not overwritten ===


def test_a_missing_index_is_no_reason_to_begin_again(store, run):
    os.remove(os.path.join(run.checkpoints, "checkpoint"))
    before = files(run.path)
    assert session(store, run.path).done
    assert files(run.path) == before
    session(store, run.path, epochs=3).fit()
    assert [line["epoch"] for line in metrics(run.path)] == [1, 2, 3]


def test_missing_checkpoints_are_no_reason_to_begin_again(store, run):
    shutil.rmtree(run.checkpoints)
    before = files(run.path)
    with pytest.raises(RunDirectoryError, match=r"trained for 2 epochs and has no checkpoint.*"):
        session(store, run.path)
    after = files(run.path)
    assert {name: after[name] for name in before} == before


def test_beginning_again_before_any_checkpoint_is_told(store, tmp_path, capsys):
    path = str(tmp_path / "run")
    session(store, path, epochs=1).fit()
    assert "begins anew" not in capsys.readouterr().out
    run = RunDirectory(path)
    run.reopen()
    shutil.rmtree(run.checkpoints)
    session(store, path).fit()
    told = f"{path} was begun before and has no checkpoint: training begins anew."
    assert told in capsys.readouterr().out.splitlines()
    assert [line["epoch"] for line in metrics(path)] == [1, 2]
    assert len(run.metadata["sessions"]) == 2


def test_a_missing_best_learner_is_told(store, run):
    os.remove(run.best_learner)
    with pytest.raises(RunDirectoryError, match=r"is trained and .*best/learner.keras' is gone"):
        session(store, run.path)


@pytest.mark.parametrize("ending", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_cut_checkpoint_is_told_and_the_one_before_goes_on(store, run, ending, share):
    path = os.path.join(run.checkpoints, f"ckpt-2.{ending}")
    whole = checkpoint_values(run.path)
    os.truncate(path, int(os.path.getsize(path) * share))
    with pytest.raises(ValueError, match=r"ckpt-2 is cut short or damaged. Delete .*ckpt-2\.\*"):
        session(store, run.path)
    for name in os.listdir(run.checkpoints):
        if name.startswith("ckpt-2."):
            os.remove(os.path.join(run.checkpoints, name))
    session(store, run.path).fit()
    for name, value in checkpoint_values(run.path).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_a_checkpoint_that_was_being_written_first_is_no_checkpoint(store, run):
    """As a kill leaves it: files of the first checkpoint, half of them, and no index."""
    os.remove(os.path.join(run.checkpoints, "checkpoint"))
    for name in os.listdir(run.checkpoints):
        if name.startswith("ckpt-2."):
            os.remove(os.path.join(run.checkpoints, name))
    os.truncate(os.path.join(run.checkpoints, "ckpt-1.index"), 20)
    run.truncate_metrics(2)
    run.reopen()
    session(store, run.path).fit()
    assert [line["epoch"] for line in metrics(run.path)] == [1, 2]


def test_the_best_learner_is_made_again_if_it_is_gone(store, tmp_path):
    best = BestLearner(str(tmp_path / "best.keras"))
    best.set_model(letters.prototypical_network())
    for epoch, score in enumerate((0.9, 0.5)):
        best.on_epoch_end(epoch, {"val_accuracy": score})
        os.remove(best.path)
    best.on_epoch_end(2, {"val_accuracy": 0.4})
    assert os.path.exists(best.path)
    assert best.best == 0.4


# === A full disk ===


def full_disk(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_for_tensorflow(*arguments, **named):
    raise tf.errors.ResourceExhaustedError(None, None, "ckpt-3; No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "fails"),
    [
        (keras.Model, "save", full_disk),
        (tf.train.CheckpointManager, "save", full_for_tensorflow),
        (RunDirectory, "append_metrics", full_disk),
    ],
)
def test_a_full_disk_keeps_what_was_there(store, run, monkeypatch, owner, name, fails):
    best = Path(run.best_learner).read_bytes()
    whole = checkpoint_values(run.path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails)
        patch.setattr(BestLearner, "_judge", lambda self, score: self._save())
        with pytest.raises(TrainingError, match=r"disk is full: .* after epoch 2\. Make room"):
            session(store, run.path, epochs=3).fit()
    if name == "save" and owner is keras.Model:
        assert Path(run.best_learner).read_bytes() == best
    for key, value in checkpoint_values(run.path).items():
        np.testing.assert_array_equal(value, whole[key])
    assert not [file for file in files(run.path) if ".tmp" in file or "ckpt-3" in file]
    session(store, run.path, epochs=3).fit()
    assert run.metadata["steps"] == 6


# === One at a time ===


def test_a_second_training_is_refused_and_names_the_first(store, run):
    first = session(store, run.path, epochs=3)
    with pytest.raises(RunDirectoryError, match=rf"trained by process {os.getpid()} on "):
        session(store, run.path, epochs=3)
    first.fit()
    assert session(store, run.path, epochs=3).done


def test_a_run_that_came_to_be_meanwhile_is_not_overwritten(store, tmp_path):
    path = str(tmp_path / "run")
    set_up(seed=1, deterministic=False)
    sizes = {"epochs": 1, "steps_per_epoch": 2, "validation_episodes": 4}
    sessions = [train(letters.experiment(store), RunDirectory(path), **sizes) for _ in range(2)]
    RunDirectory(path).start("WAYS = 3\n")
    sessions[0].fit()
    before = files(path)
    with pytest.raises(RunDirectoryError, match="trained by another process meanwhile"):
        sessions[1].fit()
    assert files(path) == before


def test_a_refused_training_holds_nothing(store, run, tmp_path):
    other = str(tmp_path / "letters")
    letters.write_letters(other, noise=10.0)
    with pytest.raises(ValueError, match="begun on other data"):
        session(other, run.path, epochs=3)
    lock = TrainingLock(run.lock_path)
    assert lock.acquire() is None
    lock.release()


def test_a_killed_process_leaves_nothing_locked(tmp_path):
    path = str(tmp_path / "training.lock")
    script = f"""
        import sys
        from kfsl.runs.training_lock import TrainingLock
        lock = TrainingLock({path!r})
        print(lock.acquire(), flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": CHECKOUT},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "None\n"
        lock = TrainingLock(path)
        assert lock.acquire().startswith(f"process {process.pid} on ")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock.acquire() is None
        lock.release()
