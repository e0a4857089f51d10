"""The reliability diagram of an evaluation."""

import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.calibration.reliability import reliability
from kfsl.figures.reliability import reliability_figure
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory

#: As sure as 0.9 and right in half, and as sure as 0.58 and right.
RAW = reliability([np.log([[0.9, 0.1], [0.9, 0.1], [0.58, 0.42]])] * 2, [np.array([0, 1, 0])] * 2)
FOUND = Evaluation(
    split="test", values=[0.5, 1.0], ways=2, shots=1, queries=3, seed=0,
    dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
    learner="PrototypicalNetwork", bn_policy="running", transductive=False,
    calibration={"raw": RAW.to_json()},
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 2")
    return run


def bars(axes):
    """Middle, bottom and height of each bar."""
    found = axes.patches
    return [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in found]


def test_bars_are_what_is_right_and_the_gap_to_what_was_said():
    above, below = reliability_figure({"raw": RAW.to_json()}).axes
    expected = [
        (8.5 / 15, 0.0, 1.0), (8.5 / 15, 1.0, 0.58 - 1.0),
        (13.5 / 15, 0.0, 0.5), (13.5 / 15, 0.5, 0.4),
    ]  # fmt: skip
    np.testing.assert_allclose(bars(above), expected, atol=1e-9)
    shares = {round(middle * 15 - 0.5): height for middle, _, height in bars(below) if height}
    assert shares == {8: pytest.approx(1 / 3), 13: pytest.approx(2 / 3)}
    assert f"ECE {100 * RAW.ece:.2f}" in above.get_title()


def test_writes_the_figure_for_people_and_for_tensorboard(run):
    scaled = dataclasses.replace(RAW, ece=0.01).to_json()
    calibration = {"raw": RAW.to_json(), "scaled": scaled, "temperature": 2.0}
    dataclasses.replace(FOUND, calibration=calibration).save(run.evaluation_path("test"))
    png, numbers, folder = analyze("reliability", AnalysisRequest(run))
    with open(numbers, encoding="utf-8") as file:
        found = json.load(file)
    assert found["raw"] == RAW.to_json()
    assert found["scaled"]["ece"] == 0.01
    with Image.open(png) as image:
        assert image.width > image.height, "two panels"
    (events,) = os.listdir(folder)
    with open(os.path.join(folder, events), "rb") as file:
        assert b"PNG" in file.read()


def test_a_split_may_be_of_open_set_episodes(run):
    FOUND.save(run.evaluation_path("test_open_set"))
    png, *_ = analyze("reliability", AnalysisRequest(run), split="test_open_set")
    assert os.path.basename(png) == "reliability_test_open_set.png"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"calibration": {}}, "tells nothing of probabilities. Evaluate again"),
        ({"metric": "error"}, "measures the error .* gives no probabilities"),
    ],
)
def test_evaluations_without_probabilities_are_refused(run, changes, word):
    dataclasses.replace(FOUND, **changes).save(run.evaluation_path("test"))
    with pytest.raises(ValueError, match=word):
        analyze("reliability", AnalysisRequest(run))
    assert not os.path.exists(os.path.join(run.path, "analysis"))
