"""`kfsl.predict` where an image may be of none of the classes."""

import json
import shutil

import numpy as np
import pytest

from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import find_queries, find_support
from kfsl.prediction.request_checks import check_none_of_these
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    draw,
    prototypical_network,
    said,
    write_folder,
    write_queries,
)


def with_threshold(model, folder, threshold):
    """The same model, its `model.json` saying that it was calibrated."""
    shutil.copytree(model, folder)
    path = folder / "model.json"
    values = json.loads(path.read_text())
    rejection = {"score": "max_logit", "threshold": threshold, "known_accepted": 0.95}
    values["calibration"] = {
        "temperature": 1.0, "split": "val", "episodes": 600, "ways": 5, "shots": 1,
        "before": {"ece": 0.2}, "after": {"ece": 0.02}, "rejection": rejection,
    }  # fmt: skip
    path.write_text(json.dumps(values))
    return str(folder)


def largest_logits(support, folder):
    files = find_support(support)
    episode = {
        "support_images": files.pixels(SHAPE)[None],
        "support_labels": np.array([files.labels], "int32"),
        "query_images": find_queries(folder).pixels(SHAPE)[None],
    }
    return prototypical_network(SHAPE)(episode)["logits"][0].numpy().max(axis=1)


def left_out_scores(model, support):
    """The largest logit of each support image, of a learner that has not seen it."""
    files = find_support(support)
    images, labels = files.pixels(SHAPE), np.array(files.labels, "int32")
    learner, scores = prototypical_network(SHAPE), []
    for place in range(len(labels)):
        others = np.arange(len(labels)) != place
        episode = {
            "support_images": images[others][None],
            "support_labels": labels[others][None],
            "query_images": images[place][None, None],
        }
        scores.append(learner(episode)["logits"].numpy().max())
    return np.array(scores)


@pytest.fixture
def strangers(tmp_path):
    """Images of the classes, and two of patterns that no class has."""
    folder = write_queries(tmp_path / "with_strangers")
    for number in (7, 8):
        draw(number, 0).save(f"{folder}/stranger{number}.png")
    return folder


def test_images_of_no_class_are_told(model, support, strangers, tmp_path):
    scores = largest_logits(support, strangers)
    assert scores[:3].min() > scores[3:].max(), "or there is no line between them"
    calibrated = with_threshold(model, tmp_path / "model", float(scores[:3].min() - 1e-3))
    output = str(tmp_path / "out.json")
    lines = predict_folders(calibrated, support, strangers, output, none_of_these=True)
    with open(output, encoding="utf-8") as file:
        found = json.load(file)
    assert [row["prediction"] for row in found["predictions"]] == [
        "ant", "bee", "cat", "none of these", "none of these"
    ]  # fmt: skip
    told = [row["score"] for row in found["predictions"]]
    np.testing.assert_allclose(told, scores, rtol=1e-4)
    assert found["none_of_these"]["score"] == "max_logit"
    assert said(lines, "None of these: 2 of 5 images, whose largest logit is below ")
    assert said(lines, "calibrated by the temperature 1, fitted on 600 5-way 1-shot validation")
    # Unasked, every image is of some class.
    predict_folders(calibrated, support, strangers, output)
    with open(output, encoding="utf-8") as file:
        plain = json.load(file)
    assert "none_of_these" not in plain
    assert {row["prediction"] for row in plain["predictions"]} <= set(CLASSES)


def test_the_support_set_lowers_a_threshold_that_rejects_it(model, support, queries, tmp_path):
    calibrated = with_threshold(model, tmp_path / "model", 1e6)
    output = str(tmp_path / "out.json")
    lines = predict_folders(calibrated, support, queries, output, none_of_these=True)
    with open(output, encoding="utf-8") as file:
        found = json.load(file)["none_of_these"]
    assert found["threshold"] == pytest.approx(left_out_scores(model, support).min(), rel=1e-4)
    assert said(lines, "lowered to what 9 images of the support set score")


def test_without_a_threshold_the_support_set_must_be_large_enough(model, strangers, tmp_path):
    few = write_folder(tmp_path / "few", CLASSES)
    with pytest.raises(ValueError, match=r"has no threshold.* 9 images can be left out, where 19"):
        predict_folders(model, few, strangers, none_of_these=True)
    many = {name: [(place, i) for i in range(7)] for place, name in enumerate(CLASSES)}
    support = write_folder(tmp_path / "many", many)
    lines = predict_folders(model, support, strangers, none_of_these=True)
    left_out = left_out_scores(model, support)
    # A twentieth of one more than 21, rounded down: below the lowest.
    rejected = (largest_logits(support, strangers) < left_out.min()).sum()
    assert said(lines, f"None of these: {rejected} of 5 images")
    assert said(lines, "fitted on 21 images of the support set, each left out in turn")


def test_a_class_of_that_name_is_refused(model, strangers, tmp_path):
    classes = {"ant": [(0, 0)], "none of these": [(1, 0)]}
    support = write_folder(tmp_path / "named", classes)
    with pytest.raises(ValueError, match=r"called 'none of these'.*Rename its folder"):
        predict_folders(model, support, strangers, none_of_these=True)


def test_base_classes_and_none_of_these_do_not_go_together():
    with pytest.raises(ValueError, match="does not go with --classes=both"):
        check_none_of_these(CLASSES, base_classes=True)
