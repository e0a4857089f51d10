"""The temperature that makes probabilities honest."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from kfsl.calibration.softmax import log_probabilities
from kfsl.calibration.temperature import COLDEST, HOTTEST, fit_temperature
from kfsl.objectives.classification import ABSENT


def drawn(temperature, queries=3000, ways=5, seed=0):
    """Logits that are so many times too sure, and labels drawn from what they should say."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0.0, 2.0, (queries, ways))
    shares = np.exp(log_probabilities(honest)).cumsum(axis=1)
    labels = (rng.uniform(size=(queries, 1)) > shares).sum(axis=1).clip(0, ways - 1)
    return honest * temperature, labels


def nll(logits, labels, temperature):
    return -np.mean(log_probabilities(logits, temperature)[np.arange(len(labels)), labels])


@pytest.mark.parametrize("true", [0.2, 1.0, 7.0])
def test_finds_what_logits_were_multiplied_by(true):
    logits, labels = drawn(true)
    found = fit_temperature([logits[:1000], logits[1000:]], [labels[:1000], labels[1000:]])
    # Standard error of the estimate on so many queries: 2 %.
    assert found == pytest.approx(true, rel=0.06)


def test_it_is_where_the_likelihood_is_largest():
    logits, labels = drawn(3.0)
    best = minimize_scalar(
        lambda inverse: nll(logits, labels, 1 / inverse), bounds=(0.05, 5.0), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    # But for the one query that is imagined.
    assert fit_temperature([logits], [labels]) == pytest.approx(1 / best.x, rel=2e-3)


def test_scales_with_the_logits_and_ignores_what_all_share():
    logits, labels = drawn(2.0, queries=300)
    found = fit_temperature([logits], [labels])
    assert fit_temperature([10 * logits], [labels]) == pytest.approx(10 * found, rel=1e-7)
    shifted = logits + np.arange(300)[:, None]
    assert fit_temperature([shifted], [labels]) == pytest.approx(found, rel=1e-7)


@pytest.mark.parametrize("impossible", [ABSENT, -np.inf])
def test_classes_that_cannot_be_change_nothing(impossible):
    logits, labels = drawn(2.0, queries=300)
    padded = np.insert(logits, 5, impossible, axis=1)
    found = fit_temperature([padded, logits], [labels, labels])
    assert found == pytest.approx(fit_temperature([logits] * 2, [labels] * 2), rel=1e-9)


def test_a_learner_that_is_never_wrong_is_not_believed_without_end():
    # N queries of logits 1 and 0, all right: of N + 1 half a one is imagined wrong.
    logits, labels = np.tile([1.0, 0.0], (100, 1)), np.zeros(100, int)
    found = fit_temperature([logits], [labels])
    assert found == pytest.approx(1 / np.log(100.5 / 0.5), rel=1e-6)


def test_ends_of_the_range():
    alike = np.zeros((10, 3))
    assert fit_temperature([alike], [np.zeros(10, int)]) == 1.0
    assert fit_temperature([np.tile([1.0, 0.0], (10, 1))], [np.ones(10, int)]) == HOTTEST
    tiny = np.tile([1e-9, 0.0], (10, 1))
    assert fit_temperature([tiny], [np.zeros(10, int)]) == COLDEST


@pytest.mark.parametrize(
    ("logits", "labels", "word"),
    [
        (np.zeros((0, 2)), [], "at least one query"),
        ([[np.nan, 0.0]], [0], "Logits must be numbers"),
        ([[0.0, 1.0]], [2], "a label from 0 to 1; received"),
        ([[0.0, 1.0]], [-1], "a label from 0 to 1; received"),
        ([[0.0, 1.0]], [0, 1], "Each of the 1 queries"),
        ([[0.0, ABSENT]], [1], "holds for impossible"),
    ],
)
def test_what_is_refused(logits, labels, word):
    with pytest.raises(ValueError, match=word):
        fit_temperature([np.array(logits)], [np.array(labels, int)])
