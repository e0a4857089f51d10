"""`kfsl.evaluate`: what it writes and prints, and what it refuses."""

import dataclasses
import json
import os
import subprocess

import pytest

from kfsl import configurables
from kfsl.command_line.command import one_line
from kfsl.evaluate import evaluate_run
from kfsl.evaluation import evaluate as evaluation
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.learner_file import file_fingerprint
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import fitting_evaluation
from tests.support import forked, letters
from tests.support.commands import run_command
from tests.support.refusals import refusal


def command(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return forked.python(["-m", module, *arguments])


def test_writes_and_prints(run):
    lines = evaluate_run(run, "test", episodes=12)
    found = Evaluation.load(run.evaluation_path("test"))
    assert lines[0] == found.summary()
    assert lines[0].startswith("test: 3-way 1-shot, 12 episodes: ")
    assert found.values != [1.0] * 12
    assert len(found.weights) == 64
    assert found.overrides == []
    assert not os.path.exists(run.evaluation_path("val"))


def test_number_of_episodes_comes_from_the_configuration(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store, extra="evaluate.episodes = 7\n")
    evaluate_run(run, "val")
    assert Evaluation.load(run.evaluation_path("val")).episodes == 7


def test_bindings_win_and_are_recorded(run):
    found = overridden(run, 6, "WAYS = 4")
    assert found.ways == 4
    assert found.overrides == ["WAYS = 4"]


def overridden(run, episodes, binding):
    """An evaluation under another binding, which has a file of its own."""
    lines = evaluate_run(run, "test", episodes=episodes, bindings=[binding])
    assert not os.path.exists(run.evaluation_path("test"))
    return Evaluation.load(lines[-1].removeprefix("written to "))


def test_more_episodes_are_not_replaced_by_fewer(run):
    evaluate_run(run, "test", episodes=6)
    assert "has 6 episodes" in evaluate_run(run, "test", episodes=4)[-1]
    assert Evaluation.load(run.evaluation_path("test")).episodes == 6
    evaluate_run(run, "test", episodes=8)
    assert Evaluation.load(run.evaluation_path("test")).episodes == 8


@pytest.mark.parametrize("binding", ["letters_epoch.ways = 4", "fixed_episode.ways = 4"])
def test_a_binding_without_effect_is_refused(run, binding):
    # The sampler of training is not used here, and the scope's own binding of ways wins.
    with pytest.raises(ValueError, match=rf"{binding} has no effect on evaluation"):
        evaluate_run(run, "test", episodes=2, bindings=[binding])
    assert not os.path.exists(run.evaluation_path("test"))


@pytest.mark.parametrize("binding", ["test/fixed_episode.ways = 4", "fixed_episode.shots = 2"])
def test_a_binding_with_effect_is_not(run, binding):
    found = overridden(run, 2, binding)
    assert (found.ways, found.shots) in ((4, 1), (3, 2))


def test_against_another_run(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    lines = evaluate_run(run, "test", episodes=12, against=other)
    assert "against" in lines[3]
    assert "difference on the same 12 episodes" in lines[4]
    assert not os.path.exists(other.evaluation_path("test")), "the other run is only read"
    with open(run.evaluation_path("test_against_other"), encoding="utf-8") as file:
        written = json.load(file)
    evaluate_run(other, "test", episodes=12)
    ours, theirs = (Evaluation.load(r.evaluation_path("test")) for r in (run, other))
    assert written["mean"] == pytest.approx(ours.mean - theirs.mean, abs=1e-12)
    assert written["mean"] != 0
    assert written["against_mean"] == theirs.mean


def test_a_comparison_is_not_lost_to_one_of_other_settings_or_fewer_episodes(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    path = run.evaluation_path("test_against_other")
    evaluate_run(run, "test", episodes=12, against=other)
    with open(path, "rb") as file:
        first = file.read()
    evaluate_run(run, "test", episodes=12, against=other, bindings=["fixed_episode.shots = 2"])
    apart = [name for name in os.listdir(os.path.dirname(path)) if "other_overridden_" in name]
    assert len(apart) == 1
    lines = evaluate_run(run, "test", episodes=4, against=other)
    assert lines[-1] == f"not written: {path} has 12 episodes"
    with open(path, "rb") as file:
        assert file.read() == first


def test_comparisons_with_runs_of_one_name_lie_side_by_side(run, store, tmp_path):
    others = [letters.trained_run(str(tmp_path / f"{i}/maml"), store, seed=i) for i in (1, 2)]
    paths = set()
    for other in others:
        evaluate_run(run, "test", episodes=2, against=other)
        folder = os.path.dirname(run.evaluation_path("test"))
        (new,) = {name for name in os.listdir(folder) if "_against_" in name} - paths
        with open(os.path.join(folder, new), encoding="utf-8") as file:
            assert json.load(file)["against"] == other.path
        paths.add(new)
    assert "test_against_maml.json" in paths
    assert "not written" not in evaluate_run(run, "test", episodes=4, against=others[1])[-1]
    again = RunDirectory(os.path.relpath(others[0].path) + "/")
    evaluate_run(run, "test", episodes=2, against=again)
    assert {name for name in os.listdir(folder) if "_against_" in name} == paths


def test_another_run_meets_no_classes_that_it_learnt_from(run, store, tmp_path):
    paths = {turned: str(tmp_path / f"turned_{turned}") for turned in (1, 2)}
    of_val, of_test = (letters.trained_run(paths[t], store, turned=t) for t in paths)
    with pytest.raises(ValueError, match=rf"5 of the 5 test classes .*'c02', .*{of_test.path} le"):
        evaluate_run(run, "test", episodes=2, against=of_test)
    with pytest.raises(ValueError, match="5 of the 5 val classes"):
        evaluate_run(run, "val", episodes=2, against=of_val)
    assert not os.path.exists(run.evaluation_path("test_against_turned_2"))
    # Of the classes that are asked about it learnt nothing.
    lines = evaluate_run(run, "test", episodes=2, against=of_val)
    assert lines[-1].startswith("difference on the same 2 episodes")
    # It began with one that did.
    heir = letters.trained_run(str(tmp_path / "heir"), store, turned=1, start_from=of_test.path)
    with pytest.raises(ValueError, match=rf"5 of the 5 test classes .*{of_test.path} learnt from"):
        evaluate_run(run, "test", episodes=2, against=heir)


def test_how_tasks_are_evaluated_holds_for_both(run, store, tmp_path, monkeypatch):
    meta_batches = []

    class Watched(evaluation.EvaluationStreams):
        def __init__(self, *arguments, **named):
            meta_batches.append(named["meta_batch"])
            super().__init__(*arguments, **named)

    monkeypatch.setattr(evaluation, "EvaluationStreams", Watched)
    first = letters.trained_run(str(tmp_path / "first"), store, extra="evaluate.meta_batch = 3\n")
    evaluate_run(first, "test", episodes=2, against=run)
    assert meta_batches == [3, 3]


def test_says_if_only_one_of_two_is_transductive(run, store, tmp_path):
    other = letters.trained_run(
        str(tmp_path / "other"), store, extra="letters_network.bn_policy = 'batch'\n"
    )
    lines = evaluate_run(run, "test", episodes=4, against=other)
    assert lines[-1].startswith(f"mind that {other.path} is transductive")
    assert len(evaluate_run(run, "test", episodes=4, against=run)) == len(lines) - 1


def test_against_what_is_stored(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    evaluate_run(other, "test", episodes=4)
    stored = Evaluation.load(other.evaluation_path("test"))
    # No accuracy over 12 queries: it can only come from the file.
    dataclasses.replace(stored, values=[0.125] * 4).save(other.evaluation_path("test"))
    evaluate_run(run, "test", episodes=4, against=other)
    with open(run.evaluation_path("test_against_other"), encoding="utf-8") as file:
        assert json.load(file)["against_mean"] == 0.125


def train_on(monkeypatch, run):
    """The run gets other weights after its evaluation and before it is written."""

    def check_overrides(*arguments):
        letters.prototypical_network(seed=5).save(run.best_learner)

    monkeypatch.setattr(configurables, "check_overrides", check_overrides)


def test_the_weights_are_those_that_were_evaluated(run, monkeypatch):
    evaluated = file_fingerprint(run.best_learner)
    train_on(monkeypatch, run)
    evaluate_run(run, "test", episodes=4)
    found = Evaluation.load(run.evaluation_path("test"))
    assert found.weights == evaluated != file_fingerprint(run.best_learner)
    # So `--against` does not take them for those of the weights that are there now.
    assert fitting_evaluation(run, found) is None


def test_a_comparison_says_which_weights_it_compared(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=5)
    evaluate_run(run, "test", episodes=4, against=other)
    with open(run.evaluation_path("test_against_other"), encoding="utf-8") as file:
        written = json.load(file)
    assert written["weights"] == file_fingerprint(run.best_learner)
    assert written["against_weights"] == file_fingerprint(other.best_learner)
    assert written["overrides"] == []


def test_what_is_stored_must_fit(run):
    evaluate_run(run, "test", episodes=4)
    stored = Evaluation.load(run.evaluation_path("test"))
    assert fitting_evaluation(run, stored) == stored
    for changes in (
        {"split": "val"},
        {"seed": 1},
        {"values": [0.5] * 8},
        {"overrides": ["WAYS = 3"]},
        {"episodes_fingerprint": "other"},
    ):
        assert fitting_evaluation(run, dataclasses.replace(stored, **changes)) is None
    with open(run.best_learner, "ab") as file:
        file.write(b"trained on")
    assert fitting_evaluation(run, stored) is None


def test_one_way_is_no_task(run):
    with pytest.raises(ValueError, match=r"must have 2 ways or more.*received ways=1"):
        evaluate_run(run, "test", episodes=2, bindings=["WAYS = 1"])
    assert not os.path.exists(os.path.dirname(run.evaluation_path("test")))


def test_a_wrong_split_lists_those_that_there_are(run):
    with pytest.raises(ValueError, match="no split 'tset'") as refused:
        evaluate_run(run, "tset", episodes=2)
    line = one_line(refused.value)
    assert line.startswith("letters has no split 'tset'; it has train, val, test.")
    assert not os.path.exists(run.evaluation_path("tset"))


@pytest.mark.parametrize("text", ["", "[1", "[]", '{"split": "test"}'])
def test_a_cut_evaluation_is_named(run, text):
    evaluate_run(run, "test", episodes=2)
    path = run.evaluation_path("test")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(ValueError, match=rf"{path}' is damaged .*delete it and evaluate again"):
        evaluate_run(run, "test", episodes=2)


def test_a_byte_order_mark_is_no_part_of_an_evaluation(run):
    evaluate_run(run, "test", episodes=2)
    path = run.evaluation_path("test")
    whole = Evaluation.load(path)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8-sig") as file:
        file.write(text)
    assert Evaluation.load(path) == whole


@pytest.mark.parametrize("line", ["WAYS =", "SIZES = (5, 10"])
def test_a_configuration_that_is_damaged(run, line):
    with open(run.config_path, "a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"the configuration, line \d+: \w"):
        evaluate_run(run, "test", episodes=2)


def test_what_a_later_episode_lacks_takes_one_line(store, tmp_path, monkeypatch, capsys):
    """It is seen inside a graph, whose errors tell of every node."""
    sizes = {"min_ways": 3, "max_ways": 5, "max_shots": 1, "total_queries": 6}
    lines = "Experiment.evaluation_sampler = @variable_episode\n"
    lines += "".join(f"variable_episode.{name} = {value}\n" for name, value in sizes.items())
    run = letters.trained_run(str(tmp_path / "run"), store, extra=lines)
    arguments = ("kfsl.evaluate", f"--run_dir={run.path}", "--open_set", "--episodes=20")
    answer = run_command(monkeypatch, capsys, *arguments)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("kfsl evaluate: 1 unknown classes asked of split 'test', where an epi")
    assert line.endswith("leaves fewer. Bind fewer ways of the episode.")
    assert not os.path.exists(run.evaluation_path("test_open_set"))


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
        (["--run_dir={run}", "--gin_param=WAYS = (3"], "--gin_param, line "),
        (["--run_dir={run}", "--against=nowhere"], "no trained learner yet"),
        (["nonsense"], "Unexpected argument 'nonsense'"),
    ],
)
def test_bad_input_is_told_before_anything_slow(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    filled = [argument.format(run=run.path, gin=run.config_path) for argument in arguments]
    assert message in refusal(tmp_path, "kfsl.evaluate", *filled)
