"""ONNX and LiteRT: metric learners agree with their Python, others are refused in one line."""

import json
import os
import runpy
import sys

import numpy as np
import pytest
import tensorflow as tf

from kfsl import learners
from kfsl.episodes import EpisodeSpec
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.serving.export_as import export_as
from kfsl.serving.formats import FORMATS
from tests.support.contract import SERVED
from tests.support.formats import FORMAT, SHAPE, WAYS, answers, made, needs
from tests.support.serving_recipes import recipes

#: Why some cannot be had.
INVERSE = "'adapt' needs the operation MatrixInverse, which .* lacks"
GRADIENTS = "'adapt' needs the operations .*Conv2DBackpropFilter"
MODULATED = ["block2_bn"]
LOOP = "'infer' was converted and does not run: Fill dimensions"
#: Of each case the class, its arguments, and why it cannot be had in a format.
CASES = {
    "prototypes": ("PrototypicalNetwork", {"scale": 200.0}, {}),
    "prototypes-cosine": ("PrototypicalNetwork", {"distance": "cosine", "scale": 50.0}, {}),
    "prototypes-support": ("PrototypicalNetwork", {"bn_policy": "support", "scale": 50.0}, {}),
    "prototypes-batch": ("PrototypicalNetwork", {"bn_policy": "batch", "scale": 50.0}, {}),
    "prototypes-ways": ("PrototypicalNetwork", {"ways": WAYS, "scale": 200.0}, {}),
    "matching": ("MatchingNetwork", {}, {}),
    "matching-logits": ("MatchingNetwork", {"aggregation": "sum_logits"}, {}),
    "simple-shot": ("SimpleShot", {"scale": 100.0}, {}),
    "stanet": ("STANet", {"ways": WAYS, "num_layers": 1}, {}),
    "dense": ("DenseClassification", {"base_classes": 5, "scale": 100.0}, {}),
    "modulated": (
        "ModulatedPrototypicalNetwork", {"ways": WAYS, "embedding_size": 6, "scale": 50.0}, {}
    ),
    "cross-modulation": ("CrossModulationNetwork", {"modulated": MODULATED}, {"litert": LOOP}),
    "cross-modulation-prototypes": (
        "CrossModulationPrototypicalNetwork", {"modulated": MODULATED}, {"litert": LOOP}
    ),
    "logistic-regression": ("LogisticRegression", {}, {"onnx": INVERSE, "litert": INVERSE}),
    "maml": ("MAML", {"ways": WAYS}, {"onnx": GRADIENTS, "litert": GRADIENTS}),
    "implanting": (
        "Implanting",
        {"base_classes": 5, "after": "block1_pool", "channels": 3, "updates": 2},
        {"onnx": GRADIENTS, "litert": GRADIENTS},
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("format_name", FORMAT)
@pytest.mark.parametrize("case", CASES)
def test_a_learner_in_a_format(case, format_name, tmp_path):
    name, arguments, refused = CASES[case]
    learner = made(name, **arguments)
    if format_name in refused:
        with pytest.raises(ValueError, match=refused[format_name]) as told:
            export_as(format_name, learner, str(tmp_path / "model"), image_shape=SHAPE)
        title = FORMATS[format_name].title
        assert str(told.value).startswith(f"{name} cannot be exported as {title}: ")
        assert str(told.value).endswith("Export it as a SavedModel: --format=saved_model.")
        assert "\n" not in str(told.value)
        assert os.listdir(tmp_path) == []
        return
    described = export_as(format_name, learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert described["left_out"] == {}
    assert described["difference_from_saved_model"] < 1e-4
    # Sizes that the export's own check does not try.
    for ways, shots, queries in ((WAYS, 3, 4), (WAYS, 4, 1) if learner.ways else (7, 2, 1)):
        episode = EpisodeSpec(ways, shots, queries, SHAPE).random_episode(seed=ways + shots)[0]
        expected = tf.nn.softmax(learner(episode)["logits"])[0].numpy()
        given = {key: episode[key][0] for key in SERVED}
        found = answers(tmp_path / "model", given)
        assert np.ptp(expected) > 0.01, "nearly uniform answers would agree with anything"
        np.testing.assert_allclose(found["whole"], expected, atol=1e-4)
        np.testing.assert_allclose(found["infer"], expected, atol=1e-4)
    assert ("infer_jointly" in found) == bool(learner.kept_base_classes)
    for wrong in wrong_labels(learner, given["support_labels"]):
        for value in answers(tmp_path / "model", {**given, "support_labels": wrong}).values():
            assert np.isnan(value).all()


def wrong_labels(learner, labels):
    """Negative, too large, far too large for memory, and a class missing where it may not be."""
    yield np.where(np.arange(len(labels)) == 1, -1, labels).astype("int32")
    yield np.where(np.arange(len(labels)) == 1, len(labels), labels).astype("int32")
    yield np.where(np.arange(len(labels)) == 1, 2**31 - 1, labels).astype("int32")
    if learner.ways is not None and not learner.takes_fewer_ways:
        yield np.minimum(labels, learner.ways - 2).astype("int32")


@pytest.mark.parametrize("format_name", FORMAT)
def test_what_lies_beside_the_files(folders, format_name):
    folder = folders(format_name)
    ending = FORMATS[format_name].ending
    files = {f"{name}{ending}" for name in ("embed", "adapt", "infer", "serving_default")}
    beside = {"model.json", "classes.json", "example.py", "README.md"}
    assert set(os.listdir(folder)) == files | beside
    described = json.loads((folder / "model.json").read_text())
    assert set(described["files"].values()) == files
    assert described["format"] == format_name
    assert described["label_checks"] is False
    assert described["image"]["shape"] == [16, 16, 1]
    assert json.loads((folder / "classes.json").read_text())["training_classes"] == ["a", "b"]
    card = (folder / "README.md").read_text()
    assert f"- {format_name}\n" in card.split("---")[1]
    assert "Not evaluated" in card
    assert "the answers to them are NaN" in card


@pytest.mark.parametrize("format_name", FORMAT)
def test_the_example_runs(folders, format_name, monkeypatch, capfd):
    example = folders(format_name) / "example.py"
    monkeypatch.setattr(sys, "argv", ["example.py"])
    # As shipped, where kfsl, Keras and TensorFlow cannot be imported.
    for name in ("kfsl", "keras", "tensorflow", "tf_keras"):
        monkeypatch.setitem(sys.modules, name, None)
    runpy.run_path(str(example), run_name="__main__")
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 5
    for number, line in enumerate(lines):
        scores = [float(part.split(": ")[1]) for part in line.split(", ")]
        assert scores.index(max(scores)) == number


@needs("onnx")
@needs("litert")
def test_the_documents_recipes_run(folders, learner):
    episode = EpisodeSpec(3, 2, 2, SHAPE).random_episode(seed=5)[0]
    expected = tf.nn.softmax(learner(episode)["logits"])[0].numpy()
    for format_name, code in zip(
        ("onnx", "litert"), recipes("ONNX Runtime and LiteRT"), strict=True
    ):
        assert f"runs/prototypical_network/{format_name}" in code
        code = code.replace(f"runs/prototypical_network/{format_name}", str(folders(format_name)))
        names = {key: episode[key][0] for key in SERVED}
        exec(compile(code, "serving.md", "exec"), names)
        found = names["infer"](**names["state"], query_features=names["query_features"])
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)


@needs("onnx")
def test_onnx_keeps_the_size_of_images_free(tmp_path):
    learner = made("PrototypicalNetwork", (None, None, 1), scale=50.0)
    described = export_as("onnx", learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert described["image"]["shape"] == [None, None, 1]
    assert described["image"]["smallest_size"] == 4
    episode = EpisodeSpec(3, 2, 2, (24, 19, 1)).random_episode(seed=5)[0]
    found = answers(tmp_path / "model", {key: episode[key][0] for key in SERVED})["whole"]
    expected = tf.nn.softmax(learner(episode)["logits"])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.long
@needs("onnx")
def test_a_size_that_cannot_stay_free_is_fixed(tmp_path):
    learner = made("CrossModulationNetwork", (None, None, 1), modulated=MODULATED)
    described = export_as("onnx", learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert described["image"]["shape"] == described["inputs"]["shape"] == [16, 16, 1]
    assert described["image"]["smallest_size"] is None


@needs("litert")
def test_litert_says_that_its_size_is_fixed(tmp_path):
    learner = made("PrototypicalNetwork", (None, None, 1), scale=50.0)
    described = export_as("litert", learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert described["image"]["shape"] == described["inputs"]["shape"] == [16, 16, 1]
    assert described["image"]["smallest_size"] is None
    assert "that size alone" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize("format_name", FORMAT)
def test_other_types_of_pixels_are_refused_by_the_runtime(folders, format_name):
    episode = EpisodeSpec(3, 2, 2, SHAPE).random_episode(seed=5)[0]
    given = {key: episode[key][0] for key in SERVED}
    scaled = {**given, "support_images": (given["support_images"] / 255.0).astype("float32")}
    with pytest.raises(Exception, match=r"(?i)unexpected input data type|got value of type"):
        answers(folders(format_name), scaled)


@needs("onnx")
def test_onnx_runtime_refuses_another_size(folders):
    episode = EpisodeSpec(3, 2, 2, (20, 20, 1)).random_episode(seed=5)[0]
    with pytest.raises(Exception, match="Got invalid dimensions"):
        answers(folders("onnx"), {key: episode[key][0] for key in SERVED})


def test_every_metric_learner_is_tried():
    public = {name: getattr(learners, name) for name in learners.__all__}
    metric = {name for name, kind in public.items() if issubclass(kind, MetricLearner)}
    assert len(metric) > 5
    assert metric <= {name for name, _, _ in CASES.values()}
