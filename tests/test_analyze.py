"""`kfsl.analyze`: analyses by name."""

import json
import os
import sys
import types

import keras
import pytest
from PIL import Image

from kfsl import configurables
from kfsl.analysis.analyses import ANALYSES, Analysis
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.backbones.conv4 import Conv4
from kfsl.evaluate import evaluate_run
from kfsl.learners.stanet import STANet
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters
from tests.support.refusals import refusal


@configurables.register
def letters_stanet() -> STANet:
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2)
    return STANet(backbone, ways=3, num_layers=2)


@pytest.fixture
def stanet(store, tmp_path):
    run = letters.trained_run(
        str(tmp_path / "stanet"), store, extra="Experiment.learner = @letters_stanet()\n"
    )
    letters_stanet().save(run.best_learner)
    return run


def check(run, files, name):
    """Both files are there; the numbers."""
    stem = os.path.join(run.path, "analysis", name)
    assert files == [f"{stem}.png", f"{stem}.json"]
    with Image.open(files[0]) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100
    with open(files[1], encoding="utf-8") as file:
        return json.load(file)


def test_attention(stanet):
    request = AnalysisRequest(stanet)
    files = analyze("attention", request, split="test", index=1, query=5)
    values = check(stanet, files, "attention_test_1_5")
    experiment = request.experiment()
    episode, labels, names = numbered_episode(experiment, "test", 1)
    outputs = experiment.learner(episode, training=False)
    assert values["logits"] == pytest.approx(outputs["logits"].numpy()[0, 5])
    assert values["true_class"] == values["classes"][labels.numpy()[0, 5]]
    assert set(values["classes"]) == {names[i] for i in episode["support_classes"].numpy()[0]}
    assert [sum(layer) for layer in values["task_attention"]] == pytest.approx([1.0, 1.0])
    assert values["task_attention"][1] == pytest.approx(outputs["task_attention"].numpy()[0, 1, 5])


def test_attention_of_a_learner_without_any(run):
    with pytest.raises(ValueError, match="PrototypicalNetwork has no attention"):
        analyze("attention", AnalysisRequest(run))
    assert not os.path.exists(os.path.join(run.path, "analysis"))


def test_confusion(run):
    with pytest.raises(FileNotFoundError, match=r"not evaluated on the split 'test'"):
        analyze("confusion", AnalysisRequest(run))
    evaluate_run(run, "test", episodes=6)
    values = check(run, analyze("confusion", AnalysisRequest(run), count=3), "confusion_test")
    assert len(values["hardest"]) == 3
    accuracies = [row["accuracy"] for row in values["hardest"]]
    assert accuracies == sorted(accuracies)
    assert values["confused"][0]["times"] > 0


def test_validation_curves(run, tmp_path):
    other = RunDirectory(str(tmp_path / "other"))
    other.start("WAYS = 3\n")
    for directory, offset in ((run, 0.0), (other, 0.1)):
        for step in (10, 20):
            accuracy = {"val_accuracy": offset + step / 100, "val_accuracy_interval": 0.01}
            directory.append_metrics({"step": step, **accuracy})
    files = analyze("validation_curves", AnalysisRequest(run), compare=(other,))
    values = check(run, files, "validation_curves")
    assert values["curves"] == {
        run.path: {"steps": [10, 20], "accuracy": [0.1, 0.2]},
        other.path: {"steps": [10, 20], "accuracy": pytest.approx([0.2, 0.3])},
    }


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("attention", {"noise_seeds": 9}, "which has --split, --index, --query"),
        ("cross_modulation_norms", {"split": "val"}, "which has no option of its own"),
        ("modulation_norms", {"split": "val"}, "--analysis=cross_modulation_norms, which"),
    ],
)
def test_an_option_that_an_analysis_does_not_read_is_refused(run, name, option, message):
    with pytest.raises(ValueError, match=f"--{next(iter(option))} is not read by.*{message}"):
        analyze(name, AnalysisRequest(run), **option)


def test_a_binding_without_effect_is_refused(run):
    binding = ("letters_epoch.ways = 4",)
    with pytest.raises(ValueError, match="has no effect on this analysis"):
        analyze("second_order", AnalysisRequest(run, binding))


def test_a_further_analysis_needs_no_figure(run, monkeypatch):
    found = Analysis("audit", None, {"errors": 0})
    monkeypatch.setitem(sys.modules, "audits", types.SimpleNamespace(analyze=lambda request: found))
    monkeypatch.setitem(ANALYSES, "audit", "audits")
    (path,) = analyze("audit", AnalysisRequest(run))
    with open(path, encoding="utf-8") as file:
        assert json.load(file) == {"analysis": "audit", "run": run.path, "errors": 0}
    # Of other bindings it is another answer, and says so.
    monkeypatch.setattr(configurables, "check_overrides", lambda *arguments: None)
    bindings = ("fixed_episode.shots = 5",)
    (other,) = analyze("audit", AnalysisRequest(run, bindings))
    assert other != path
    with open(other, encoding="utf-8") as file:
        assert json.load(file)["overrides"] == list(bindings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--analysis is missing; there are attention, "),
        (["--analysis=x", "--run_dir={run}"], "--analysis=x is unknown; there are attention, "),
        (["--analysis=episode", "--run_dir={run}"], "is the command kfsl.show --run_dir=DIR"),
        (["--analysis=attention"], "--run_dir is missing"),
        (["--analysis=attention", "--run_dir=nowhere"], "'nowhere' is not a run directory"),
        (["--analysis=attention", "--run_dir={run}"], "no trained learner yet"),
        (
            ["--analysis=confusion", "--run_dir={run}", "--noise_seeds=9"],
            "--noise_seeds is not read by --analysis=confusion, which has --split, --count.",
        ),
        (["--analysis=gradient_noise", "--run_dir={run}", "--levels="], "--levels is empty"),
        (["--analysis=confusion", "--run_dir={run}"], "was not evaluated on the split 'test'"),
        (["--analysis=validation_curves", "--run_dir={run}"], "has no 'val_accuracy'"),
        (
            ["--analysis=validation_curves", "--run_dir={run}", "--compare=nowhere"],
            "'nowhere' is not a run directory",
        ),
    ],
)
def test_bad_input_is_told_before_anything_slow(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    filled = [argument.format(run=run.path, gin=run.config_path) for argument in arguments]
    assert message in refusal(tmp_path, "kfsl.analyze", *filled)
