"""Evaluations in parts are, number for number, those of one process."""

import os

import pytest

from kfsl.evaluate import evaluate_run
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters
from tests.support.refusals import refusal

#: 4 and 3 meta-batches of 4, the last of 2.
EPISODES = 26


def told(found: Evaluation) -> dict:
    """All but when, where and how long."""
    return {k: v for k, v in found.to_json().items() if k not in ("seconds", "environment")}


def in_parts(run, count, bindings=()):
    for place in range(count):
        evaluate_run(run, "test", EPISODES, bindings=list(bindings), shard=(place, count))


@pytest.fixture
def whole(run):
    path = evaluate_run(run, "test", EPISODES)[-1].removeprefix("written to ")
    found = Evaluation.load(path)
    os.remove(path)
    return found


# More parts than meta-batches: some have nothing to do.
@pytest.mark.parametrize("count", [2, 9])
def test_merged_parts_are_what_one_process_gives(run, whole, count):
    in_parts(run, count)
    lines = evaluate_run(run, "test", merge=True)
    assert lines[0] == whole.summary()
    assert told(Evaluation.load(run.evaluation_path("test"))) == told(whole)
    assert os.listdir(os.path.dirname(run.evaluation_path("test"))) == ["test.json"]


def test_parts_of_other_bindings_have_files_of_their_own(run):
    in_parts(run, 2, ["WAYS = 4"])
    with pytest.raises(ValueError, match=r"No part of 'test' is in .*--shard=0/2"):
        evaluate_run(run, "test", merge=True)
    line = evaluate_run(run, "test", merge=True, bindings=["WAYS = 4"])[-1]
    assert Evaluation.load(line.removeprefix("written to ")).ways == 4


def test_a_folder_whose_name_is_a_pattern(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "letters"), store)
    os.rename(run.path, tmp_path / "letters[5w]")
    run = RunDirectory(str(tmp_path / "letters[5w]"))
    line = [evaluate_run(run, "test", EPISODES, shard=(part, 2)) for part in range(2)][-1][0]
    assert line.endswith(
        "when all are there: the same command with --merge in the place of --shard"
    )
    assert evaluate_run(run, "test", merge=True)[0].startswith("test: 3-way 1-shot")


def test_merged_parts_are_compared_with_another_run(run, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "other"), store, seed=1)
    in_parts(run, 2)
    lines = evaluate_run(run, "test", merge=True, against=other)
    assert lines[3].startswith(f"against {other.path}: test: 3-way 1-shot, {EPISODES} episodes")


def test_a_missing_part_is_named_with_its_command(run):
    evaluate_run(run, "test", EPISODES, shard=(0, 3))
    evaluate_run(run, "test", EPISODES, shard=(2, 3))
    with pytest.raises(ValueError, match=r"Part 1 of 3 is missing.*--shard=1/3"):
        evaluate_run(run, "test", merge=True)
    assert not os.path.exists(run.evaluation_path("test"))
    evaluate_run(run, "test", EPISODES, shard=(1, 3))
    assert len(evaluate_run(run, "test", merge=True)) == 3


def test_parts_that_do_not_fit_are_refused(run, store):
    evaluate_run(run, "test", EPISODES, shard=(0, 2))
    evaluate_run(run, "test", EPISODES + 1, shard=(1, 2))
    with pytest.raises(ValueError, match=r"Part 1 is of another evaluation than part 0.*episodes"):
        evaluate_run(run, "test", merge=True)
    in_parts(run, 2)
    with pytest.raises(ValueError, match=f"of {EPISODES} episodes, and not 8"):
        evaluate_run(run, "test", 8, merge=True)
    in_parts(run, 3)
    with pytest.raises(ValueError, match="parts of 2 and of 3"):
        evaluate_run(run, "test", merge=True)


def test_parts_of_other_weights_are_refused(run):
    in_parts(run, 2)
    letters.prototypical_network(seed=1).save(run.best_learner)
    with pytest.raises(ValueError, match=r"of other weights than .*learner.keras has by now"):
        evaluate_run(run, "test", merge=True)


def test_a_damaged_part_is_named(run):
    in_parts(run, 2)
    path = os.path.join(os.path.dirname(run.evaluation_path("test")), "parts", "test_1_of_2.npz")
    with open(path, "r+b") as file:
        file.truncate(200)
    with pytest.raises(ValueError, match=r"test_1_of_2.npz' is no part of an evaluation"):
        evaluate_run(run, "test", merge=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard=3"], "such as 0/8 or 7/8; received '3'"),
        (["--shard=8/8"], "a part's number, from 0"),
        (["--shard=0/2", "--merge"], "leave one out"),
        (["--shard=0/2", "--against=runs/other"], "--against compares what is whole"),
    ],
)
def test_what_is_refused(tmp_path, arguments, message):
    assert message in refusal(tmp_path, "kfsl.evaluate", "--run_dir=runs/one", *arguments)
