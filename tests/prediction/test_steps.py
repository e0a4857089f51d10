"""`kfsl.predict` with a learner that takes gradient steps."""

import json

import numpy as np
import pytest

from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import find_queries, find_support
from kfsl.prediction.served_learner import MOST_LEFT_OUT, ServedLearner, most_left_out
from kfsl.serving.export import export
from kfsl.serving.files import chosen_steps
from tests.support.calibrations import calibration
from tests.support.exported_model import CLASSES, SHAPE, draw, maml, said, write_folder
from tests.support.refusals import refusal


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    export(maml(), path, image_shape=SHAPE)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "queries").mkdir()
    for number, name in enumerate(CLASSES):
        draw(number, 9).save(folder / "queries" / f"{name}.png")
    return write_folder(folder / "support", CLASSES), str(folder / "queries")


@pytest.mark.parametrize("steps", [None, 6])
def test_three_classes_in_a_model_of_four_ways(model, folders, tmp_path, steps):
    output = tmp_path / "out.json"
    lines = predict_folders(model, *folders, str(output), steps)
    taken = "3 gradient steps on the support set." if steps is None else (
        "6 gradient steps on the support set; its own number is 3."
    )  # fmt: skip
    assert said(lines, f"Learnt by {taken}")
    assert said(lines, "of 9 support images")
    assert not said(lines, "Transductive")
    found = json.loads(output.read_text())
    assert found["steps"] == (steps or 3)
    learner, (support, queries) = maml(), folders
    files = find_support(support)
    labels = np.array([files.labels], "int32")
    state = learner.adapt(files.pixels(SHAPE)[None], labels, steps=steps)
    logits = learner.infer(state, find_queries(queries).pixels(SHAPE)[None])["logits"][0]
    scores = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    rows = [list(row["probabilities"].values()) for row in found["predictions"]]
    np.testing.assert_allclose(rows, scores[:, :3], atol=1e-5)


@pytest.mark.parametrize(("steps", "holds"), [(None, True), (3, True), (6, False)])
def test_what_was_fitted_for_other_steps_does_not_count(folders, tmp_path, steps, holds):
    path = str(tmp_path / "model")
    fitted = calibration(2.5)
    export(maml(), path, image_shape=SHAPE, calibration=fitted)
    lines = predict_folders(path, *folders, None, steps)
    assert said(lines, "calibrated by the temperature 2.5") == holds
    assert said(lines, "not calibrated") != holds
    served = ServedLearner.load(path, steps)
    assert (served.calibration is not None) == holds
    # Nine images are too few to draw the line by themselves.
    if holds:
        assert said(predict_folders(path, *folders, None, steps, False, True), "validation")
    else:
        with pytest.raises(ValueError, match="the model has no threshold"):
            predict_folders(path, *folders, None, steps, False, True)


def test_more_classes_than_ways(model, folders, tmp_path):
    drawings = {f"class{i}": [(i, 0)] for i in range(5)}
    support = write_folder(tmp_path / "support", drawings)
    with pytest.raises(ValueError, match=r"at most 4 classes apart.*has 5 classes. Leave 1 out"):
        predict_folders(model, support, folders[1])


@pytest.mark.parametrize("steps", [-1, 10_001])
def test_a_number_that_none_can_be_asked_for_takes_one_line(steps, model, folders, tmp_path):
    arguments = (f"--saved_model={model}", f"--support={folders[0]}", f"--query={folders[1]}")
    message = refusal(tmp_path, "kfsl.predict", *arguments, f"--steps={steps}")
    assert f"--steps must be 0 to 10,000 gradient steps; received {steps}." in message


@pytest.mark.parametrize(
    ("taken", "steps", "message"),
    [
        (None, 3, "steps=3 has no place here: this Some takes no gradient steps"),
        ({"default": 2, "free": False}, 3, "this Some always takes 2 gradient steps"),
        ({"default": 2, "free": True}, -1, "steps must be 0 to 10,000 gradient steps; received -1"),
        ({"default": 2, "free": True}, 10_001, "0 to 10,000 gradient steps; received 10001"),
    ],
)
def test_steps_that_a_model_does_not_take(taken, steps, message):
    with pytest.raises(ValueError, match=message):
        chosen_steps({"learner": "Some", "steps": taken}, steps)


def test_the_models_own_steps():
    assert chosen_steps({"steps": {"default": 2, "free": True}}, None) == 2
    assert chosen_steps({"steps": {"default": 2, "free": True}}, 0) == 0
    assert chosen_steps({"steps": {"default": 2, "free": False}}, None) is None
    assert chosen_steps({"steps": None}, None) is None
    # Exports of earlier releases do not say.
    assert chosen_steps({}, None) is None


def test_leaving_out_is_bounded_by_steps(model, monkeypatch):
    limits = {steps: most_left_out(steps) for steps in (None, 0, 1, 5, 10, 1000)}
    assert limits == {
        None: MOST_LEFT_OUT, 0: MOST_LEFT_OUT, 1: MOST_LEFT_OUT, 5: 40, 10: 20, 1000: 20
    }  # fmt: skip
    served = ServedLearner.load(model, steps=5)
    told = {"probabilities": np.ones((1, 2)) / 2, "logits": np.zeros((1, 2))}
    monkeypatch.setattr(served, "answers", lambda *arguments: told)
    left_out = served.leave_one_out(np.zeros((100, 1)), np.repeat([0, 1], 50))
    assert len(np.unique(left_out.indices)) == 40
