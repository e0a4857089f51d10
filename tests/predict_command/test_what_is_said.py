"""The honest word of `kfsl.predict`: warnings, and what a support set tells of its own accuracy."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kfsl.predict import predict_folders
from kfsl.prediction import support_report
from kfsl.prediction.image_folders import find_queries, find_support
from kfsl.prediction.served_learner import MOST_LEFT_OUT, ServedLearner
from kfsl.prediction.table import PredictionTable
from kfsl.serving.export import export
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    prototypical_network,
    said,
    write_folder,
)


def test_blank_images_are_named(model, queries, support, tmp_path):
    Image.new("L", (16, 16), 7).save(Path(queries) / "dark.png")
    lines = predict_folders(model, support, queries)
    assert said(lines, "Warning: Hardly anything can be seen in these images")
    assert said(lines, "have one value: dark.png. Look")


def test_an_image_in_the_wrong_folder_is_named(model, queries, tmp_path):
    drawings = {**CLASSES, "cat": [*CLASSES["cat"], (0, 8)]}
    output = tmp_path / "out.json"
    lines = predict_folders(
        model, write_folder(tmp_path / "support", drawings), queries, str(output)
    )
    assert said(lines, "9 of 10 support images")
    assert said(lines, "cat/3.png disagrees with its folder: it looks like ant (")
    (found,) = json.loads(output.read_text())["support"]["leave_one_out"]["disagreeing"]
    assert (found["image"], found["folder"], found["prediction"]) == ("cat/3.png", "cat", "ant")


def test_one_shot_cannot_be_estimated(model, queries, tmp_path):
    drawings = {name: images[:1] for name, images in CLASSES.items()}
    output = tmp_path / "out.json"
    lines = predict_folders(
        model, write_folder(tmp_path / "support", drawings), queries, str(output)
    )
    assert said(lines, "cannot be estimated: every class has one image only")
    assert json.loads(output.read_text())["support"]["leave_one_out"] is None


def test_a_class_of_one_image_among_others_is_said(model, queries, tmp_path):
    drawings = {**CLASSES, "bee": [(1, 0)], "ant": [(0, i) for i in range(4)]}
    lines = predict_folders(model, write_folder(tmp_path / "support", drawings), queries)
    assert said(lines, "7 of 7 support images")
    assert said(lines, "Not estimated, since they have one image only: bee.")
    assert said(lines, "Class sizes differ very much: bee has 1, ant has 4.")


def test_copies_are_pointed_out(model, tmp_path):
    drawings = {"ant": [(0, 0), (0, 0), (0, 1)], "bee": [(1, 0), (0, 1)]}
    folder = write_folder(tmp_path / "support", drawings)
    lines = predict_folders(model, folder, os.path.join(folder, "bee", "0.png"))
    assert said(lines, "The same image lies in two classes: ant/2.png = bee/1.png.")
    assert said(lines, "copies of others in their class: 1;")
    assert said(lines, "Queries that are support images too say nothing: 0.png.")


def test_exchanged_ink_and_paper_are_pointed_out(model, support, queries):
    files, images = find_support(support), np.full((9, *SHAPE), 20, "uint8")
    found = support_report.warnings_of(files, images, find_queries(queries), images[:3], 230.0)
    assert said(found, "much darker (mean pixel 20) than the training images (230)")
    assert not said(
        support_report.warnings_of(files, images, find_queries(queries), images[:3], 100.0),
        "darker",
    )


def test_a_transductive_model_says_why_nothing_is_estimated(support, queries, tmp_path):
    path = str(tmp_path / "model")
    learner = prototypical_network(SHAPE, bn_policy="batch")
    export(learner, path, image_shape=SHAPE)
    lines = predict_folders(path, support, queries)
    assert said(lines, "cannot be estimated: this model is transductive")
    assert said(lines, "Transductive: all 3 queries were classified at once.")


def test_leaving_out_is_leaving_out(model):
    served = ServedLearner.load(model)
    rng = np.random.default_rng(0)
    features = served.embed(rng.integers(0, 256, (4, *SHAPE)).astype("uint8"))
    labels = np.array([0, 0, 1, 2])
    left_out = served.leave_one_out(features, labels)
    assert left_out.indices.tolist() == [0, 1]
    without_first = served.answers(features[1:], labels[1:], features[:1])["probabilities"]
    np.testing.assert_allclose(left_out.probabilities[0], without_first[0], atol=1e-6)


def test_leaving_out_is_capped(model, monkeypatch):
    served = ServedLearner.load(model)
    told = {"probabilities": np.ones((1, 2)) / 2, "logits": np.zeros((1, 2))}
    monkeypatch.setattr(served, "answers", lambda *arguments: told)
    labels = np.repeat([0, 1], 1000)
    left_out = served.leave_one_out(np.zeros((2000, 1)), labels)
    assert len(np.unique(left_out.indices)) == MOST_LEFT_OUT
    assert np.bincount(left_out.labels).tolist() == [MOST_LEFT_OUT // 2] * 2


@pytest.mark.parametrize(
    ("correct", "tried", "interval"),
    # Newcombe (1998), table I, method 3: 15 of 148 and 0 of 20.
    [(15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))],
)
def test_wilson_interval(correct, tried, interval):
    assert support_report.wilson_interval(correct, tried) == pytest.approx(interval, abs=5e-5)


def test_many_classes_print_the_likeliest():
    classes = [f"c{i}" for i in range(20)]
    probabilities = np.eye(20)[[4, 9]] * 0.9 + 0.005
    table = PredictionTable(["a.png", "b.png"], classes, probabilities)
    first, second = table.text().splitlines()[1:]
    assert first.split()[:4] == ["a.png", "c4", "c4", "0.905,"]
    assert second.count(",") == 2
    assert len(table.csv().splitlines()[0].split(",")) == 23
    assert len(table.text(rows=1).splitlines()) == 2
