"""ONNX and LiteRT: what fails leaves what was there, and is told in one line."""

import json
import os
import shutil

import pytest
import tensorflow as tf

from kfsl.backbones.mlp import MLP
from kfsl.exported_run import summary
from kfsl.learners import ConditionalNeuralProcess
from kfsl.objectives import Regression
from kfsl.serving import format_check
from kfsl.serving.export_as import export_as
from kfsl.serving.formats import FORMATS
from kfsl.serving.litert_format import to_litert
from kfsl.serving.unconvertible import UnconvertibleError
from tests.support.formats import FORMAT, SHAPE, exported, made, needs


@pytest.mark.parametrize("format_name", FORMAT)
@pytest.mark.parametrize("failing", ["difference", "write", "run"])
def test_a_failure_leaves_the_earlier_export(
    learner, folders, tmp_path, monkeypatch, format_name, failing
):
    path = shutil.copytree(folders(format_name), tmp_path / "model")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    if failing == "difference":
        # A graph that is off by little: it must not be let pass for being close.
        monkeypatch.setattr(format_check, "_of_tensors", lambda signature: shifted(signature))
        message = "differs from the SavedModel"
    elif failing == "write":
        monkeypatch.setattr("kfsl.serving.whole_folder.write_text", full)
        message = "No space left"
    else:
        monkeypatch.setattr(format_check, "_told_in_words", lambda *_: failed)
        message = "cannot be exported as"
    with pytest.raises((ValueError, OSError), match=message):
        exported(format_name, learner, path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert os.listdir(tmp_path) == ["model"]


def shifted(signature):
    def run(**inputs):
        found = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        # Twice what is allowed, in probabilities alone.
        shift = {"probabilities": 2e-4}
        return {name: value.numpy() + shift.get(name, 0) for name, value in found.items()}

    return run


def full(*arguments):
    raise OSError(28, "No space left on device")


def failed(**inputs):
    raise UnconvertibleError([], "'embed' was converted and does not run: no")


@needs("onnx")
def test_an_export_replaces_another_of_its_format_alone(folders, tmp_path):
    path = shutil.copytree(folders("onnx"), tmp_path / "model")
    other = made("PrototypicalNetwork", scale=3.0)
    exported("onnx", other, path)
    assert json.loads((path / "model.json").read_text())["config"]["config"]["scale"] == 3.0
    (path / "embed.onnx").rename(path / "saved_model.pb")
    with pytest.raises(ValueError, match="did not export as ONNX; name another folder"):
        exported("onnx", other, path)


@pytest.mark.parametrize("format_name", FORMAT)
def test_labels_answered_with_numbers_are_no_export(learner, tmp_path, monkeypatch, format_name):
    def unmarked(learner, images, labels):
        return tf.clip_by_value(labels, 0, tf.size(labels) - 1), tf.constant(0.0)

    monkeypatch.setattr("kfsl.serving.signatures.usable_labels", unmarked)
    with pytest.raises(ValueError, match="answers the support label -1 with numbers in 'infer'"):
        exported(format_name, learner, tmp_path / "model")
    assert os.listdir(tmp_path) == []


@needs("litert")
def test_what_is_not_needed_is_left_out_and_told(learner, tmp_path, monkeypatch):
    def converted(function, name, variables):
        if name == "serving_default":
            raise UnconvertibleError(["Magic"])
        return to_litert(function, name, variables)

    monkeypatch.setattr("kfsl.serving.export_as.to_litert", converted)
    described = exported("litert", learner, tmp_path / "model")
    assert described["left_out"] == {"serving_default": "the operation Magic"}
    assert "serving_default.tflite" not in os.listdir(tmp_path / "model")
    lines = summary("model", described)
    assert "Signatures:      adapt.tflite, embed.tflite, infer.tflite" in lines
    assert "Left out:        serving_default, which needs the operation Magic" in lines


@pytest.mark.parametrize(("format_name", "package"), [("onnx", "tf2onnx"), ("litert", "ai_edge")])
def test_a_missing_package_is_named_with_the_command(monkeypatch, format_name, package):
    from kfsl.serving import formats

    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(formats.MissingExtraError) as told:
        FORMATS[format_name].check_installed()
    assert package in str(told.value)
    assert str(told.value).endswith(f"pip install 'kfsl[{format_name}]'")
    FORMATS["saved_model"].check_installed()


@pytest.mark.parametrize("format_name", FORMAT)
def test_numbers_and_half_precision_are_refused(tmp_path, format_name):
    half = made("PrototypicalNetwork", dtype="mixed_bfloat16")
    numbers = ConditionalNeuralProcess(MLP((4,)), MLP((2 + 128,)), objective=Regression(2))
    for learner, reason in ((half, "computes in bfloat16"), (numbers, "answers with numbers")):
        with pytest.raises(ValueError, match=rf"{reason}.*--format=saved_model\.$"):
            export_as(format_name, learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []
