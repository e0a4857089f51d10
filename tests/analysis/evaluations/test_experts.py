"""One run for each mode, each asked about its own, beside runs that were trained on all."""

import dataclasses
import json
import os

import pytest

from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evidence.experts import merged, modes_of
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory

FOUND = Evaluation(
    split="test", values=[0.9, 0.2, 0.8, 0.1], ways=5, shots=1, queries=15, seed=0,
    dataset="mixed", dataset_fingerprint="d", episodes_fingerprint="e",
    learner="PrototypicalNetwork", bn_policy="batch", transductive=True, modes=[0, 1, 0, 1],
    mode_names=["photos", "drawings"],
)  # fmt: skip


def run_of(folder, name, accuracies, modes=None):
    run = RunDirectory(str(folder / name))
    scoped = "evaluation/mixture_episode.ways = 5\nmixture_episode.ways = 5\n"
    run.start(scoped + (f"mixture_episode.modes = {modes!r}\n" if modes else ""))
    os.makedirs(os.path.dirname(run.best_learner))
    with open(run.best_learner, "wb") as file:
        file.write(b"weights")
    dataclasses.replace(FOUND, values=accuracies).save(run.evaluation_path("test"))
    return run


def test_each_is_asked_about_its_own_mode(tmp_path):
    photos = run_of(tmp_path, "photos", [0.9, 0.2, 0.8, 0.1], ("photos",))
    drawings = run_of(tmp_path, "drawings", [0.3, 0.7, 0.4, 0.6], ("drawings",))
    mixed = run_of(tmp_path, "mixed", [0.8, 0.8, 0.8, 0.8])
    assert modes_of(photos.config) == ("photos",)
    assert modes_of(mixed.config) is None
    (path,) = analyze("experts", AnalysisRequest(photos), compare=(mixed, drawings))
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert values["evaluation"]["accuracies"] == [0.9, 0.7, 0.8, 0.6]
    assert values["evaluation"]["learner"] == "Multi-PrototypicalNetwork"
    (apart,) = values["against_experts"].values()
    assert apart["mean"] == pytest.approx(0.05)
    assert apart["by_mode"]["photos"]["mean"] == pytest.approx(-0.05)
    assert apart["by_mode"]["drawings"]["mean"] == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ([(("photos",), {})], "No run was trained on the mode 'drawings' alone"),
        ([(("photos",), {}), (("photos", "drawings"), {})], "Two runs were trained on .*'photos'"),
        ([(("photos",), {}), (("drawings",), {"seed": 1})], r"they differ in seed \(0 and 1\)"),
        ([(("photos",), {"modes": []})], "of no mixture"),
    ],
)
def test_what_makes_no_whole_is_refused(experts, message):
    with pytest.raises(ValueError, match=message):
        merged([(modes, dataclasses.replace(FOUND, **changes)) for modes, changes in experts])


def test_runs_of_all_modes_are_no_experts(tmp_path):
    with pytest.raises(ValueError, match="there are no experts"):
        analyze("experts", AnalysisRequest(run_of(tmp_path, "mixed", [0.5] * 4)))
