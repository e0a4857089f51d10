"""Evaluations of several runs in one table and figure."""

import dataclasses
import json

import pytest

from kfsl.analysis.evaluations.shots_and_steps import axis_of, evaluation_rows, rows_figure
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluate import evaluate_run
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from tests.support import gradient_runs, letters


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """MAML with 1 and 2 steps, evaluated with 1 and 5 shots."""
    folder = tmp_path_factory.mktemp("runs")
    store = str(folder / "letters")
    letters.write_letters(store)
    made = []
    for steps in (1, 2):
        for shots in (1, 5):
            name = f"{steps}_steps_{shots}_shots"
            run = gradient_runs.maml_run(str(folder / name), store, steps=steps)
            made.append(run)
    evaluate_run(made[0], "test", episodes=3)
    measured = Evaluation.load(made[0].evaluation_path("test"))
    for place, run in enumerate(made[1:], 1):
        shots = 5 if place % 2 else 1
        accuracies = [0.1 * place, 0.3, 0.5]
        evaluation = dataclasses.replace(measured, shots=shots, values=accuracies)
        evaluation.save(run.evaluation_path("test"))
    return made


def test_a_row_for_each_run_and_a_line_for_each_number_of_steps(runs):
    _, path = analyze("shots_and_steps", AnalysisRequest(runs[0]), compare=tuple(runs[1:]))
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    assert [(row["steps"], row["shots"]) for row in rows] == [(1, 1), (1, 5), (2, 1), (2, 5)]
    assert {(row["learner"], row["backbone"], row["first_order"]) for row in rows} == {
        ("MAML", "Functional", False)
    }
    measured = Evaluation.load(runs[0].evaluation_path("test"))
    assert rows[0]["accuracy"] == measured.mean
    assert rows[3]["accuracy"] == pytest.approx((0.3 + 0.3 + 0.5) / 3)
    axes = rows_figure(rows).axes[0]
    assert axes.get_xlabel() == "shots"
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {
        "MAML, 1 steps": [[1, rows[0]["accuracy"]], [5, rows[1]["accuracy"]]],
        "MAML, 2 steps": [[1, rows[2]["accuracy"]], [5, rows[3]["accuracy"]]],
    }


def test_the_axis_shows_what_was_varied_most(runs):
    rows = evaluation_rows(runs[::2], "test")
    assert axis_of(rows) == "steps"
    columns = [{**rows[0], "columns": u} for u in (1, 5, 10)]
    assert axis_of(columns) == "columns"
    assert [line.get_label() for line in rows_figure(columns).axes[0].lines] == ["MAML"]
    mixed = [rows[0], {**rows[0], "learner": "PrototypicalNetwork", "steps": None}]
    assert axis_of(mixed) == "shots"
    # Shots that vary from episode to episode have no place on an axis.
    varying = [{**row, "shots": [1, 10]} for row in rows]
    assert [line.get_label() for line in rows_figure(varying).axes[0].lines] == ["MAML"]


def test_a_run_that_was_not_evaluated_is_named(runs, tmp_path):
    bare = RunDirectory(str(tmp_path / "bare"))
    bare.start("WAYS = 3\n")
    with pytest.raises(FileNotFoundError, match="bare' was not evaluated on the split 'test'"):
        evaluation_rows([runs[0], bare], "test")


def test_a_damaged_learner_is_named(runs, tmp_path):
    run = RunDirectory(str(tmp_path / "damaged"))
    run.start("WAYS = 3\n")
    (tmp_path / "damaged" / "best").mkdir()
    (tmp_path / "damaged" / "best" / "learner.keras").write_bytes(b"PK")
    Evaluation.load(runs[0].evaluation_path("test")).save(run.evaluation_path("test"))
    with pytest.raises(ValueError, match=r"learner\.keras is damaged"):
        evaluation_rows([run], "test")


def test_an_evaluation_with_other_settings_is_refused(runs):
    evaluation = Evaluation.load(runs[0].evaluation_path("test"))
    for name, binding in (("a", "fixed_episode.shots = 9"), ("b", "MAML.evaluation_steps = 9")):
        changed = dataclasses.replace(evaluation, overrides=[binding])
        changed.save(runs[0].evaluation_path(name))
    assert evaluation_rows(runs[:1], "a")[0]["steps"] == 1
    with pytest.raises(ValueError, match=r"was evaluated with MAML.evaluation_steps = 9"):
        evaluation_rows(runs[:1], "b")
