"""The grid of poolings: its cells are what evaluations of their own would find."""

import dataclasses
import json

import pytest

from kfsl import configurables
from kfsl.analysis.compared_learners import with_settings
from kfsl.analysis.dense_classification.pooling_grid import STAGE2, Cell, cells_of
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluation import base_classes
from kfsl.evaluation.evaluate import EVALUATION_SEED, evaluate
from kfsl.runs.measure import half_interval
from tests.support import dense_runs, letters

EPISODES = 6


def written(files):
    with open(next(file for file in files if file.endswith(".json")), encoding="utf-8") as file:
        return json.load(file)


def of_cell(found, cell):
    (one,) = (each for each in found if all(each[k] == v for k, v in cell._asdict().items()))
    return one


def test_cells_of_dense_classification_are_evaluations(store, tmp_path):
    run = dense_runs.dense_run(str(tmp_path / "dense"), store)
    files = analyze("pooling_grid", AnalysisRequest(run), episodes=EPISODES)
    values = written(files)
    experiment = configurables.trained_experiment(run)
    (found,) = values["runs"].values()
    assert {kind: len(cells) for kind, cells in found.items()} == {"new": 6, "base": 6, "both": 6}
    # Each pooling of each kind once; compiling an evaluation takes seconds.
    for cell in (Cell("max", "", "average"), Cell("average", "", "max"), Cell("max", "", "dense")):
        learner = with_settings(experiment.learner, **cells_of(experiment.learner)[cell])
        own = dataclasses.replace(experiment, learner=learner)
        queries = base_classes.queries(own, "test")
        expected = {
            "new": evaluate(own, episodes=EPISODES),
            "base": evaluate(base_classes.asked_alone(own), split="base_test", episodes=EPISODES),
            "both": evaluate(own, episodes=EPISODES, base_queries=queries),
        }
        for kind, evaluation in expected.items():
            got = of_cell(found[kind], cell)
            assert got["accuracy"] == pytest.approx(evaluation.mean, abs=1e-6)
            assert got["interval"] == pytest.approx(half_interval(evaluation.values), abs=1e-6)
    assert len({cell["accuracy"] for cells in found.values() for cell in cells}) > 3
    assert values["seed"] == EVALUATION_SEED


def test_cells_of_implanting_are_evaluations(store, tmp_path):
    run = dense_runs.dense_run(str(tmp_path / "implanting"), store, kind="implanting")
    (found,) = written(analyze("pooling_grid", AnalysisRequest(run), episodes=EPISODES))[
        "runs"
    ].values()
    assert list(found) == ["new"]
    experiment = configurables.trained_experiment(run)
    for (support, loss), queries in zip(STAGE2[1:], ("average", "max", "dense"), strict=True):
        learner = with_settings(
            experiment.learner, loss_support_pooling=support, loss_pooling=loss,
            support_pooling="average", query_pooling=queries,
        )  # fmt: skip
        own = dataclasses.replace(experiment, learner=learner)
        got = of_cell(found["new"], Cell(support, loss, queries))
        assert got["accuracy"] == pytest.approx(evaluate(own, episodes=EPISODES).mean, abs=1e-6)


def test_tables_name_run_classes_and_poolings(store, tmp_path):
    run = dense_runs.dense_run(str(tmp_path / "dense"), store)
    other = dense_runs.dense_run(str(tmp_path / "pooled"), store, reading="average")
    files = analyze("pooling_grid", AnalysisRequest(run), compare=(other,), episodes=4)
    assert [file.rsplit(".")[-1] for file in files] == ["json", "md"]
    with open(files[1], encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines[0] == "| run | classes | support | queries | accuracy |"
    assert len(lines) == 2 + 2 * 18
    assert lines[2].startswith("| dense | base | GMP | GAP | ")


def test_runs_of_other_methods_are_refused(store, tmp_path):
    prototypical = letters.trained_run(str(tmp_path / "prototypical"), store)
    with pytest.raises(ValueError, match=r"DenseClassification and Implanting.*Prototypical"):
        analyze("pooling_grid", AnalysisRequest(prototypical))
    dense = dense_runs.dense_run(str(tmp_path / "dense"), store)
    implanting = dense_runs.dense_run(str(tmp_path / "implanting"), store, kind="implanting")
    with pytest.raises(ValueError, match="compare runs of one method"):
        analyze("pooling_grid", AnalysisRequest(dense), compare=(implanting,))
