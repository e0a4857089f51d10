"""Classifiers that are saved and loaded."""

import json
import os

import numpy as np
import pytest

from kfsl import FewShotClassifier
from kfsl.backbones.conv4 import Conv4
from kfsl.learners.dense_classification import DenseClassification
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.serving.export import export
from tests.support.exported_model import SHAPE, draw, maml, prototypical_network
from tests.support.served_apart import served_apart


@pytest.fixture(scope="module")
def saved(model, support, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("saved") / "animals")
    FewShotClassifier(model).fit(support).save(path)
    return path


def same(first, second, images):
    np.testing.assert_allclose(first.predict_proba(images), second.predict_proba(images), atol=1e-6)


def test_it_answers_alike(saved, model, support, queries):
    loaded = FewShotClassifier.load(saved)
    same(loaded, FewShotClassifier(model).fit(support), queries)
    assert loaded.classes_.tolist() == ["ant", "bee", "cat"]
    assert loaded.model == saved


def test_features_that_numpys_files_do_not_know(support, queries, tmp_path):
    learner = PrototypicalNetwork(Conv4(image_shape=SHAPE, filters=4, dtype="mixed_bfloat16"))
    fitted = FewShotClassifier(learner).fit(support)
    assert fitted._support.features.dtype == "bfloat16"
    fitted.save(tmp_path / "model")
    loaded = FewShotClassifier.load(tmp_path / "model")
    assert loaded._support.features.dtype == "bfloat16"
    np.testing.assert_array_equal(loaded._support.features, fitted._support.features)
    same(loaded, fitted, queries)


def test_no_pickles(saved):
    files = {os.path.relpath(os.path.join(folder, name), saved)
             for folder, _, names in os.walk(saved) for name in names}  # fmt: skip
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert {"saved_model.pb", "model.json", "classifier.json", "support.npy"} <= files
    assert np.load(os.path.join(saved, "support.npy"), allow_pickle=False).shape[0] == 9


def test_it_grows_after_loading(saved, drawings, queries):
    images = np.stack([np.asarray(draw(7, i)) for i in range(3)])
    loaded = FewShotClassifier.load(saved).add_class("dog", images)
    whole, names = drawings
    expected = FewShotClassifier(saved).fit([*whole, *images], [*names, *["dog"] * 3])
    same(loaded, expected, queries)


def test_saved_once_more_in_its_own_place(saved, drawings, queries, tmp_path):
    images, names = drawings
    path = str(tmp_path / "model")
    first = FewShotClassifier(saved).fit(images[:6], names[:6])
    first.save(path)
    loaded = FewShotClassifier.load(path).add_class("cat", images[6:])
    loaded.save(path)
    again = FewShotClassifier.load(path)
    same(again, loaded, queries)
    assert again.classes_.tolist() == ["ant", "bee", "cat"]


@pytest.mark.parametrize(
    "learner",
    [
        lambda: prototypical_network(SHAPE),
        maml,
        lambda: DenseClassification(
            Conv4(image_shape=SHAPE, filters=4, num_pools=2), base_classes=2
        ),
    ],
)
def test_a_process_without_kfsl_classifies(learner, drawings, queries, tmp_path):
    images, names = drawings
    classifier = FewShotClassifier(learner()).fit(images, names)
    classifier.save(tmp_path / "model")
    pixels = np.stack([np.asarray(draw(i, 9).resize((16, 16)))[..., None] for i in range(3)])
    found = served_apart(tmp_path / "model", {"images": pixels}, tmp_path)["answers"]
    expected = classifier.predict_proba(pixels)
    assert np.ptp(expected) > 0.001
    np.testing.assert_allclose(found, expected, atol=1e-5)
    same(FewShotClassifier.load(tmp_path / "model"), classifier, queries)


def test_arguments_are_kept(drawings, queries, tmp_path):
    images, names = drawings
    classifier = FewShotClassifier(maml(), steps=1).fit(images, names)
    classifier.save(tmp_path / "model")
    loaded = FewShotClassifier.load(tmp_path / "model")
    assert loaded.steps == 1
    same(loaded, classifier, queries)
    # Steps count: the model's own number gives something else.
    other = FewShotClassifier(maml()).fit(images, names)
    assert np.abs(other.predict_proba(queries) - loaded.predict_proba(queries)).max() > 1e-4


def test_base_classes_are_kept(drawings, queries, tmp_path):
    images, names = drawings
    learner = DenseClassification(Conv4(image_shape=SHAPE, filters=4, num_pools=2), base_classes=2)
    trained = {"training_classes": ["fly", "moth"]}
    export(learner, str(tmp_path / "export"), image_shape=SHAPE, training_data=trained)
    classifier = FewShotClassifier(tmp_path / "export", base_classes=True).fit(images, names)
    classifier.save(tmp_path / "model")
    loaded = FewShotClassifier.load(tmp_path / "model")
    assert loaded.classes_.tolist() == ["fly", "moth", "ant", "bee", "cat"]
    same(loaded, classifier, queries)


def test_labels_and_depth_come_back_as_they_were(model, drawings, tmp_path):
    images, _ = drawings
    labels = [("a", 1)] * 3 + [None] * 3 + [7] * 3
    deep = images.astype("uint16") * 16
    FewShotClassifier(model, none_label=None).fit(deep, labels).save(tmp_path / "model")
    loaded = FewShotClassifier.load(tmp_path / "model")
    assert loaded.predict(deep).tolist() == labels
    with pytest.raises(ValueError, match=r"ask for the range \[0, 65535\].*from \[0, 4095\]"):
        loaded.predict(images.astype("uint16") * 257)


def test_labels_that_text_cannot_hold(model, drawings, tmp_path):
    images, _ = drawings
    classifier = FewShotClassifier(model).fit(images, [frozenset([i % 2]) for i in range(9)])
    with pytest.raises(TypeError, match=r"received frozenset\(\{0\}\) \(frozenset\)"):
        classifier.save(tmp_path / "model")
    assert not os.path.exists(tmp_path / "model")


def test_something_else_is_not_replaced(model, drawings, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something that kfsl did not export"):
        FewShotClassifier(model).fit(*drawings).save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_model_is_no_classifier(model):
    with pytest.raises(ValueError, match="is a model without support set: FewShotClassifier"):
        FewShotClassifier.load(model)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        FewShotClassifier.load(f"{model}/no")


@pytest.mark.parametrize("damage", ["cut json", "no features", "cut features", "fewer", "version"])
def test_a_damaged_one_is_named(model, drawings, tmp_path, damage):
    path = tmp_path / "model"
    FewShotClassifier(model).fit(*drawings).save(path)
    file, features = path / "classifier.json", path / "support.npy"
    values = json.loads(file.read_text())
    if damage == "cut json":
        file.write_text(file.read_text()[:-9])
    elif damage == "no features":
        features.unlink()
    elif damage == "cut features":
        os.truncate(features, features.stat().st_size - 9)
    elif damage == "fewer":
        file.write_text(json.dumps({**values, "support_labels": values["support_labels"][1:]}))
    else:
        file.write_text(json.dumps({**values, "format_version": 9}))
    said = r"(damaged|format version 9).*[Ss]ave (it|the classifier)"
    with pytest.raises(ValueError, match=said):
        FewShotClassifier.load(path)
