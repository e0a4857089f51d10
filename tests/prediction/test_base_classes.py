"""`kfsl.predict --classes=both`: the classes of the training beside a user's own."""

import json

import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.dense_classification import DenseClassification
from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import common_values, find_queries, find_support
from kfsl.prediction.request_checks import check_base_classes
from kfsl.serving.export import export
from tests.support.exported_model import CLASSES, SHAPE, write_folder, write_queries


def test_they_are_kept_beside_the_support_sets(tmp_path):
    support = write_folder(tmp_path / "support", CLASSES)
    queries = write_queries(tmp_path / "queries")
    path, output = str(tmp_path / "model"), str(tmp_path / "out.json")
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2)
    learner = DenseClassification(backbone, base_classes=3)
    # The training knew a bee too.
    names = ["bee", "fly", "moth"]
    export(learner, path, image_shape=SHAPE, training_data={"training_classes": names})
    lines = predict_folders(path, support, queries, output, base_classes=True)
    with open(output, encoding="utf-8") as file:
        written = json.load(file)
    assert written["classes"] == ["bee (trained)", "fly", "moth", *CLASSES]
    assert written["base_classes"] == 3
    assert any("Queries may be of the 3 classes of the training too" in line for line in lines)
    files, found = find_queries(queries), find_support(support)
    values = common_values(found, files)
    images = found.pixels(SHAPE, values), files.pixels(SHAPE, values)
    episode = {
        "support_images": images[0][None],
        "support_labels": np.array([found.labels]),
        "query_images": images[1][None],
    }
    features = learner.embed_episode(episode, training=False)
    logits = np.asarray(learner.answer(*features, episode, joint=True)["logits"])[0]
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for prediction, row in zip(written["predictions"], expected, strict=True):
        assert list(prediction["probabilities"].values()) == pytest.approx(row, abs=2e-6)


def test_a_model_without_them_is_refused():
    with pytest.raises(ValueError, match=r"PrototypicalNetwork keeps no base classes.*Leave it"):
        check_base_classes({"learner": "PrototypicalNetwork"}, {})
    description = {"learner": "DenseClassification", "base_classes": 3}
    with pytest.raises(ValueError, match=r"tells 3 base classes and its classes\.json names 0"):
        check_base_classes(description, {})
