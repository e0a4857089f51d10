"""Where the line to none of the classes is drawn for a support set."""

import numpy as np
import pytest

from kfsl.prediction.rejection import Rejection, fit_rejection
from kfsl.prediction.table import PredictionTable

VALIDATED = {"score": "max_logit", "threshold": -5.0, "known_accepted": 0.95}


def logits(*largest):
    """Two classes, the first likelier."""
    return np.array([[one, one - 1.0] for one in largest])


def test_without_images_to_leave_out_validation_decides():
    for left_out in (None, np.empty((0, 2)), np.array([])):
        found = fit_rejection(VALIDATED, left_out)
        assert (found.score, found.threshold) == ("max_logit", -5.0)
        assert found.fitted_on == "fitted on validation classes"


def test_few_images_lower_the_threshold_of_validation_and_never_raise_it():
    assert fit_rejection(VALIDATED, logits(-1.0, -2.0)).threshold == -5.0
    found = fit_rejection(VALIDATED, logits(-1.0, -7.5, -6.0))
    assert found.threshold == -7.5
    assert found.fitted_on.endswith("lowered to what 3 images of the support set score")
    # None of what it was lowered for is rejected.
    assert not found.rejected(logits(-7.5)).any()


def test_enough_images_decide_alone():
    scores = -np.arange(39.0)
    found = fit_rejection(VALIDATED, logits(*scores))
    # The second lowest of 39: one in twenty of 40.
    assert found.threshold == -37.0
    assert found.fitted_on.startswith("fitted on 39 images of the support set")
    assert fit_rejection(VALIDATED, logits(*scores[:18])).threshold == -17.0
    assert fit_rejection(VALIDATED, logits(*(scores[:18] / 9))).threshold == -5.0
    assert fit_rejection(VALIDATED, logits(*(scores[:19] / 9))).threshold == -2.0


def test_the_score_and_the_share_are_those_of_validation():
    validated = {"score": "max_probability", "threshold": 0.6, "known_accepted": 0.5}
    found = fit_rejection(validated)
    sure, doubtful = [5.0, 0.0], [0.1, 0.0]
    assert found.rejected(np.array([sure, doubtful])).tolist() == [False, True]
    three = fit_rejection(validated, np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]]))
    assert three.threshold == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert three.known_accepted == 0.5


def test_a_model_without_threshold_needs_images():
    assert fit_rejection(None, logits(*np.arange(19.0))).threshold == 0.0
    with pytest.raises(ValueError, match=r"18 images can be left out, where 19 are needed.*--cali"):
        fit_rejection(None, logits(*np.arange(18.0)))


def test_what_it_says():
    rejection = Rejection("max_logit", -5.0, 0.95, "fitted on validation classes")
    assert rejection.line(2, 7) == (
        "None of these: 2 of 7 images, whose largest logit is below -5: fitted on validation "
        "classes, to keep 95% of the images that are of the classes."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_no_verdict(value):
    with pytest.raises(ValueError, match="Logits must be numbers"):
        fit_rejection(VALIDATED).rejected(np.array([[value, 0.0]]))


def test_a_table_names_what_is_none_of_them():
    table = PredictionTable(
        ["a.png", "b.png"], ("cat", "dog"), np.array([[0.9, 0.1], [0.2, 0.8]]),
        np.array([-1.0, -9.5]), np.array([False, True]),
    )  # fmt: skip
    assert table.predictions == ["cat", "none of these"]
    assert table.csv().splitlines() == [
        "image,prediction,probability,p(cat),p(dog),score",
        "a.png,cat,0.900000,0.900000,0.100000,-1",
        "b.png,none of these,0.800000,0.200000,0.800000,-9.5",
    ]
    assert '"score": -9.5' in table.json({})
    assert table.text().splitlines()[2].split("  ")[1:2] == ["none of these"]
