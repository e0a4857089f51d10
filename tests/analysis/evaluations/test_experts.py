"""One run for each mode, each asked about its own, beside runs that were trained on all."""

import dataclasses
import json
import os

import pytest

from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evidence.experts import merged
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from tests.support.refusals import light_run, refusal

FOUND = Evaluation(
    split="test", values=[0.9, 0.2, 0.8, 0.1], ways=5, shots=1, queries=15, seed=0,
    dataset="mixed", dataset_fingerprint="d", episodes_fingerprint="e",
    learner="PrototypicalNetwork", bn_policy="batch", transductive=True, modes=[0, 1, 0, 1],
    mode_names=["photos", "drawings"],
)  # fmt: skip


def run_of(folder, name, accuracies, modes=None, text=""):
    run = RunDirectory(str(folder / name))
    scoped = "evaluation/mixture_episode.ways = 5\nmixture_episode.ways = 5\n"
    run.start(scoped + (f"mixture_episode.modes = {modes!r}\n" if modes else f"{text}\n"))
    os.makedirs(os.path.dirname(run.best_learner))
    with open(run.best_learner, "wb") as file:
        file.write(b"weights")
    dataclasses.replace(FOUND, values=accuracies).save(run.evaluation_path("test"))
    return run


def test_each_is_asked_about_its_own_mode(tmp_path):
    photos = run_of(tmp_path, "photos", [0.9, 0.2, 0.8, 0.1], ("photos",))
    drawings = run_of(tmp_path, "drawings", [0.3, 0.7, 0.4, 0.6], ("drawings",))
    mixed = run_of(tmp_path, "mixed", [0.8, 0.8, 0.8, 0.8])
    (path,) = analyze("experts", AnalysisRequest(photos), compare=(mixed, drawings))
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert values["evaluation"]["accuracies"] == [0.9, 0.7, 0.8, 0.6]
    assert values["evaluation"]["learner"] == "Multi-PrototypicalNetwork"
    (apart,) = values["against_experts"].values()
    assert apart["mean"] == pytest.approx(0.05)
    assert apart["by_mode"]["photos"]["mean"] == pytest.approx(-0.05)
    assert apart["by_mode"]["drawings"]["mean"] == pytest.approx(0.15)


def test_what_one_of_them_alone_was_found_to_be_is_not_told_of_all():
    told = {"classes": {"a": 1}, "calibration": {"raw": {}}, "open_set": {"area": 0.5}}
    one = dataclasses.replace(FOUND, **told, weights="of one")
    both = merged([(("photos",), one), (("drawings",), FOUND)])
    assert (both.classes, both.calibration, both.open_set, both.weights) == ({}, {}, {}, "")


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


@pytest.mark.parametrize(
    ("drawings", "mixed"),
    [
        ("mixture_episode.modes = ('drawings',)", "mixture_episode.modes = None"),
        ("MODES = ('drawings',)\nmixture_episode.modes = %MODES", ""),
        (
            "Experiment.sampler = @train/mixture_episode\n"
            "train/mixture_episode.modes = ('drawings',)",
            "Experiment.sampler = @train/mixture_episode\ntrain/mixture_episode.modes = None",
        ),
    ],
    ids=["none", "macro", "scope"],
)
def test_modes_are_those_that_training_draws_from(tmp_path, drawings, mixed):
    photos = run_of(tmp_path, "photos", [0.9, 0.2, 0.8, 0.1], ("photos",))
    runs = [
        run_of(tmp_path, name, accuracies, text=text)
        for name, accuracies, text in (
            ("drawings", [0.3, 0.7, 0.4, 0.6], drawings),
            ("mixed", [0.8, 0.8, 0.8, 0.8], mixed),
        )
    ]
    compare = f"--compare={runs[0].path}", f"--compare={runs[1].path}"
    answer = light_run(
        tmp_path, "kfsl.analyze", "--analysis=experts", f"--run_dir={photos.path}", *compare
    )
    assert answer["code"] == 0, answer["stderr"]
    with open(os.path.join(photos.path, "analysis", "experts_test.json"), encoding="utf-8") as file:
        values = json.load(file)
    assert values["experts"] == {photos.path: ["photos"], runs[0].path: ["drawings"]}
    assert list(values["against_experts"]) == [runs[1].path]


def test_a_run_whose_modes_cannot_be_read_is_named(tmp_path):
    run = run_of(tmp_path, "drawn", [0.5] * 4, text="mixture_episode.modes = @chosen_modes()")
    told = refusal(tmp_path, "kfsl.analyze", "--analysis=experts", f"--run_dir={run.path}")
    assert f"{run.path}: mixture_episode.modes is bound to @chosen_modes()" in told
    assert "names of modes such as ('photos',)" in told


def test_runs_of_all_modes_are_no_experts(tmp_path):
    with pytest.raises(ValueError, match="there are no experts"):
        analyze("experts", AnalysisRequest(run_of(tmp_path, "mixed", [0.5] * 4)))
