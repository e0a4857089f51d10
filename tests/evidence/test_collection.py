"""Evidence is of one run, claims what is so, and does not tell where the run lay."""

import json
import os

import pytest

from kfsl.evidence.collection import collect
from kfsl.runs.files import write_json, write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import weights_fingerprint
from tests.support.evidence import METADATA, ROW, evaluated_run, evaluation


@pytest.fixture
def run(tmp_path):
    return evaluated_run(str(tmp_path / "run"))


@pytest.fixture
def results(tmp_path):
    return str(tmp_path / "results")


def test_where_runs_lie_on_a_machine_is_no_evidence(tmp_path, results):
    run = RunDirectory(str(tmp_path / "mine/second"))
    first = tmp_path / "mine/first"
    run.start(f"WAYS = 5\ntrain.start_from = '{first}'\n")
    told = ["/home/someone/kfsl/train.py", f"--run_dir={run.path}"]
    session = {"command_line": told, "commit": "0123"}
    run.update_metadata({**METADATA, "start_from": str(first), "sessions": [session]})
    write_text(run.best_learner, "weights")
    environment = {"command_line": ["/home/someone/kfsl/evaluate.py", f"--run_dir={run.path}"]}
    found = evaluation(weights=weights_fingerprint(run), environment=environment)
    found.save(run.evaluation_path("test"))
    collect(run, results, "omniglot_protonet", ROW)
    kept = {}
    for name in os.listdir(os.path.join(results, "omniglot_protonet")):
        with open(os.path.join(results, "omniglot_protonet", name), encoding="utf-8") as file:
            kept[name] = file.read()
        assert str(tmp_path) not in kept[name], name
        assert "/home" not in kept[name], name
    assert "train.start_from = 'runs/first'" in kept["config.gin"]
    assert "--run_dir=runs/second" in kept["evaluation.json"]
    assert json.loads(kept["metadata.json"])["start_from"] == "runs/first"


def test_a_folder_of_runs_is_replaced_where_a_path_begins(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("s/run")  # As `gin/papers/` ends.
    run.start("train.start_from = 's/first'\nSOURCE = 'gin/papers/x.gin'\n")
    run.update_metadata({**METADATA})
    write_text(run.best_learner, "weights")
    evaluation(weights=weights_fingerprint(run)).save(run.evaluation_path("test"))
    os.makedirs(os.path.join(results, "row"))  # Left by a collection that was interrupted.
    collect(run, results, "row", ROW)
    with open(os.path.join(results, "row/config.gin"), encoding="utf-8") as file:
        text = file.read()
    assert "train.start_from = 'runs/first'" in text
    assert "SOURCE = 'gin/papers/x.gin'" in text


def test_evidence_does_not_say_where_the_program_lay(run, results):
    collect(run, results, "row", ROW)
    for name in os.listdir(os.path.join(results, "row")):
        with open(os.path.join(results, "row", name), encoding="utf-8") as file:
            assert "/home/someone" not in file.read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setting": "5-way 5-shot"}, "'5-way 5-shot', but evaluation.json is of 5-way 1-shot"),
        ({"paper": 974.0}, "'paper' must be in per cent; received 974.0"),
        ({"table": None}, "needs a text 'table'; give it with --table"),
        ({"tabel": "x"}, "unknown field 'tabel'"),
    ],
)
def test_rows_that_claim_what_is_not_so(run, results, changes, message):
    with pytest.raises(ValueError, match=message):
        collect(run, results, "row", {**ROW, **changes})
    assert not os.path.exists(os.path.join(results, "row"))


def test_evidence_must_be_of_one_run(run, results):
    write_text(run.best_learner, "other weights")
    with pytest.raises(ValueError, match="evaluated before its weights changed"):
        collect(run, results, "row", ROW)
    other = evaluation(weights=weights_fingerprint(run), dataset_fingerprint="other")
    other.save(run.evaluation_path("test"))
    with pytest.raises(ValueError, match="trained on one dataset and evaluated on another"):
        collect(run, results, "row", ROW)
    write_json(run.metadata_path, {k: v for k, v in METADATA.items() if k != "finished"})
    evaluation(weights=weights_fingerprint(run)).save(run.evaluation_path("test"))
    with pytest.raises(ValueError, match="is not finished: continue it"):
        collect(run, results, "row", ROW)
    with pytest.raises(ValueError, match="--row must name a folder"):
        collect(run, results, "../row", ROW)
    with pytest.raises(FileNotFoundError, match="not evaluated on the split 'val'"):
        collect(run, results, "row", ROW, split="val")
