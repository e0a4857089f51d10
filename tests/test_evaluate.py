"""`kfsl.evaluate`: what it writes and prints, and what it refuses."""

import json
import os
import subprocess
import sys
import time

import pytest

from kfsl.evaluate import evaluate_run
from kfsl.evaluation_record import Evaluation
from kfsl.run_directory import RunDirectory
from tests import letters


def command(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("stores") / "letters")
    letters.write_letters(path)
    return path


@pytest.fixture
def run(store, tmp_path):
    return letters.trained_run(str(tmp_path / "run"), store)


def test_writes_and_prints(run):
    lines = evaluate_run(run, "test", episodes=12)
    found = Evaluation.load(run.evaluation_path("test"))
    assert lines[0] == found.summary()
    assert lines[0].startswith("test: 3-way 1-shot, 12 episodes: ")
    assert found.accuracies != [1.0] * 12
    assert len(found.weights) == 64
    assert found.overrides == []
    assert not os.path.exists(run.evaluation_path("val"))


def test_number_of_episodes_comes_from_the_configuration(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store, extra="evaluate.episodes = 7\n")
    evaluate_run(run, "val")
    assert Evaluation.load(run.evaluation_path("val")).episodes == 7


def test_bindings_win_and_are_recorded(run):
    evaluate_run(run, "test", episodes=6, bindings=["WAYS = 4"])
    found = Evaluation.load(run.evaluation_path("test"))
    assert found.ways == 4
    assert found.overrides == ["WAYS = 4"]


def test_a_binding_without_effect_is_refused(run):
    with pytest.raises(ValueError, match=r"letters_epoch\.ways = 4 is not used"):
        evaluate_run(run, "test", episodes=2, bindings=["letters_epoch.ways = 4"])
    assert not os.path.exists(run.evaluation_path("test"))


def test_against_another_run(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    lines = evaluate_run(run, "test", episodes=12, against=other)
    assert "against" in lines[2]
    assert "difference on the same 12 episodes" in lines[3]
    assert not os.path.exists(other.evaluation_path("test")), "the other run is only read"
    with open(run.evaluation_path("test_against_other"), encoding="utf-8") as file:
        written = json.load(file)
    evaluate_run(other, "test", episodes=12)
    ours, theirs = (Evaluation.load(r.evaluation_path("test")) for r in (run, other))
    assert written["mean"] == pytest.approx(ours.mean - theirs.mean, abs=1e-12)
    assert written["mean"] != 0
    assert written["against_mean"] == theirs.mean


def test_says_if_only_one_of_two_is_transductive(run, store, tmp_path):
    other = letters.trained_run(
        str(tmp_path / "other"), store, extra="letters_network.bn_policy = 'batch'\n"
    )
    lines = evaluate_run(run, "test", episodes=4, against=other)
    assert lines[-1].startswith(f"mind that {other.path} is transductive")
    assert len(evaluate_run(run, "test", episodes=4, against=run)) == len(lines) - 1


def test_against_uses_what_is_stored_only_if_it_fits(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    evaluate_run(other, "test", episodes=12)
    path = other.evaluation_path("test")
    stored = Evaluation.load(path)
    marked = [0.125] * 12  # No accuracy over 12 queries: it can only come from the file.
    with open(path, encoding="utf-8") as file:
        values = {**json.load(file), "accuracies": marked}

    def their_mean(episodes=12, **changes):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**values, **changes}, file)
        evaluate_run(run, "test", episodes=episodes, against=other)
        with open(run.evaluation_path("test_against_other"), encoding="utf-8") as file:
            return json.load(file)["against_mean"]

    assert their_mean() == 0.125
    assert their_mean(weights="older") == stored.mean
    assert their_mean(seed=1) == stored.mean
    assert their_mean(overrides=["WAYS = 3"]) == stored.mean
    assert their_mean(episodes=8) == pytest.approx(sum(stored.accuracies[:8]) / 8)


def test_refuses_an_untrained_run(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store)
    os.remove(run.best_learner)
    with pytest.raises(FileNotFoundError, match=r"no trained learner yet.*kfsl\.train --run_dir="):
        evaluate_run(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--run_dir is missing"),
        (["--run_dir=nowhere"], "'nowhere' is not a run directory"),
        (["--run_dir={run}"], "has no trained learner yet"),
        (["--run_dir={run}", "--episodes=1"], "--episodes must be at least 2"),
        (["--run_dir={run}", "--gin_param=WAYS = ="], "--gin_param, line 1"),
        (["--run_dir={run}", "--against=nowhere"], "no trained learner yet"),
        (["nonsense"], "Unexpected argument 'nonsense'"),
    ],
)
def test_bad_input_is_told_in_one_line_at_once(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    started = time.monotonic()
    result = command("kfsl.evaluate", *[argument.format(run=run.path) for argument in arguments])
    seconds = time.monotonic() - started
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("kfsl evaluate: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert seconds < 5, "TensorFlow must not be imported for that"
