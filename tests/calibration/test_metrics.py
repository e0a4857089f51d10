"""Calibration errors and rankings, against numbers worked out by hand."""

import itertools

import numpy as np
import pytest

from kfsl.calibration.jackknife import jackknife_half
from kfsl.calibration.ranking import auroc, pooled_auroc
from kfsl.calibration.rejection_rates import rejection_rates
from kfsl.calibration.reliability import BINS, reliability
from kfsl.calibration.scores import SCORES
from kfsl.calibration.softmax import log_probabilities
from kfsl.calibration.threshold import accepting_threshold, fewest_scores
from kfsl.objectives.classification import ABSENT

RNG = np.random.default_rng(0)


def rows(*confidences):
    """Log probabilities of two classes, the first with these."""
    return np.log([[c, 1 - c] for c in confidences])


def test_calibration_error_by_hand():
    # Bins of a fifteenth: 0.61 and 0.65 share the tenth, 0.95 stands in the last.
    first, second = rows(0.61, 0.65), rows(0.95, 0.95)
    found = reliability([first, second], [np.array([0, 1]), np.array([0, 0])])
    assert found.queries == 4
    assert found.bins[9] == [2, pytest.approx(0.63), 0.5]
    assert found.bins[14] == [2, pytest.approx(0.95), 1.0]
    assert [each[0] for each in found.bins] == [0] * 9 + [2] + [0] * 4 + [2]
    assert found.bins[0] == [0, None, None]
    assert found.ece == pytest.approx(0.5 * 0.13 + 0.5 * 0.05, abs=1e-12)
    expected = -np.mean([np.log(0.61), np.log(0.35), np.log(0.95), np.log(0.95)])
    assert found.nll == pytest.approx(expected, abs=1e-12)
    squares = [2 * 0.39**2, 2 * 0.65**2, 2 * 0.05**2, 2 * 0.05**2]
    assert found.brier == pytest.approx(np.mean(squares), abs=1e-12)
    # Left out in turn: 0.05 and 0.13 remain.
    assert found.ece_interval == pytest.approx(1.96 * 0.04, abs=1e-12)


def test_a_bin_holds_its_upper_edge():
    found = reliability([rows(0.6, 0.6000001)] * 2, [np.array([0, 0])] * 2)
    assert [place for place, each in enumerate(found.bins) if each[0]] == [8, 9]


def test_adaptive_bins_hold_as_many_queries_each():
    # Thirty confidences that fall into one bin of equal width, the surer half always wrong.
    confidences = np.linspace(0.94, 0.99, 30)
    labels = (np.arange(30) >= 15).astype(int)
    found = reliability([rows(*confidences)] * 2, [labels] * 2)
    pairs = (confidences.reshape(BINS, 2) - (1 - labels).reshape(BINS, 2)).mean(axis=1)
    assert found.adaptive_ece == pytest.approx(np.abs(pairs).mean(), abs=1e-12)
    assert found.ece == pytest.approx(confidences.mean() - 0.5, abs=1e-12)


def test_confidences_that_are_alike_share_a_bin():
    found = reliability([rows(*[0.8] * 10)] * 2, [np.array([0] * 8 + [1] * 2)] * 2)
    assert found.ece == found.adaptive_ece == pytest.approx(0.0, abs=1e-12)


def test_order_changes_nothing():
    logits = RNG.normal(size=(6, 20, 4))
    labels = RNG.integers(0, 4, (6, 20))
    episodes = [log_probabilities(each) for each in logits]
    found = reliability(episodes, list(labels))
    other = reliability(
        [each[::-1] for each in episodes[::-1]], [each[::-1] for each in labels[::-1]]
    )
    for name in ("ece", "ece_interval", "adaptive_ece", "nll", "brier"):
        assert getattr(found, name) == pytest.approx(getattr(other, name), abs=1e-12)
    classes = np.array([2, 0, 3, 1])
    renamed = reliability(
        [each[:, np.argsort(classes)] for each in episodes], list(classes[labels])
    )
    assert renamed.ece == pytest.approx(found.ece, abs=1e-12)


def test_episodes_that_say_the_same_leave_no_doubt():
    found = reliability([rows(0.9, 0.7)] * 5, [np.array([0, 1])] * 5)
    assert found.ece > 0.2
    assert found.ece_interval == pytest.approx(0.0, abs=1e-12)


def brute_auroc(known, unknown):
    pairs = itertools.product(known, unknown)
    return np.mean([(k > u) + 0.5 * (k == u) for k, u in pairs])


def test_auroc_counts_pairs_and_half_of_ties():
    assert auroc([1.0], [1.0]) == 0.5
    assert auroc([2.0, 3.0], [1.0]) == 1.0
    assert auroc([1.0], [2.0, 3.0]) == 0.0
    known, unknown = RNG.integers(0, 6, 40), RNG.integers(0, 5, 30)
    assert auroc(known, unknown) == pytest.approx(brute_auroc(known, unknown), abs=1e-12)
    assert auroc(unknown, known) == pytest.approx(1 - auroc(known, unknown), abs=1e-12)
    shuffled = auroc(RNG.permutation(known), RNG.permutation(unknown))
    assert shuffled == auroc(known, unknown)
    assert auroc(np.exp(known), np.exp(unknown)) == auroc(known, unknown)


def test_auroc_of_two_normal_distributions():
    # Whose means are one standard deviation apart: Phi(1 / sqrt(2)).
    known, unknown = RNG.normal(1.0, 1.0, 20_000), RNG.normal(0.0, 1.0, 20_000)
    assert auroc(known, unknown) == pytest.approx(0.76025, abs=0.01)


def test_the_interval_of_a_pooled_auroc_leaves_out_each_episode():
    known = [RNG.integers(0, 9, n) for n in (4, 6, 5, 3)]
    unknown = [RNG.integers(0, 7, n) for n in (3, 5, 2, 6)]
    found, half = pooled_auroc(known, unknown)
    assert found == pytest.approx(brute_auroc(np.concatenate(known), np.concatenate(unknown)))
    without = [
        brute_auroc(
            np.concatenate([k for j, k in enumerate(known) if j != i]),
            np.concatenate([u for j, u in enumerate(unknown) if j != i]),
        )
        for i in range(4)
    ]
    spread = np.sum((without - np.mean(without)) ** 2)
    assert half == pytest.approx(1.96 * np.sqrt(spread * 3 / 4), abs=1e-12)


@pytest.mark.parametrize("scores", [[], [np.nan, 1.0], [[1.0]]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="Scores must be numbers"):
        auroc(scores, [1.0])
    with pytest.raises(ValueError, match="Scores must be numbers"):
        auroc([1.0], scores)


def test_an_interval_needs_two_episodes():
    with pytest.raises(ValueError, match="2 episodes or more; received 1"):
        jackknife_half(np.ones((1, 2)), lambda sums: sums[:, 0])
    with pytest.raises(ValueError, match="2 episodes or more; received 1"):
        reliability([rows(0.9)], [np.array([0])])


def test_scores_of_logits():
    logits = np.array([[2.0, 0.0], [2.0, -np.inf], [2.0, ABSENT]])
    share = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(SCORES["max_probability"](logits), [share, 1.0, 1.0])
    np.testing.assert_array_equal(SCORES["max_logit"](logits), [2.0, 2.0, 2.0])
    np.testing.assert_allclose(
        SCORES["energy"](logits), [np.log(np.exp(2.0) + 1.0), 2.0, 2.0], rtol=1e-12
    )


@pytest.mark.parametrize("name", sorted(SCORES))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=r"Logits must be numbers; received .* for query 1"):
        SCORES[name](np.array([[0.0, 1.0], [value, 0.0]]))


def test_a_query_that_can_be_nothing_is_refused():
    with pytest.raises(ValueError, match="for query 0"):
        log_probabilities(np.array([[-np.inf, -np.inf]]))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_a_threshold_rejects_new_known_queries_no_more_often_than_it_says(share):
    # Exactly, for any distribution: rank of one more score among n + 1.
    few = fewest_scores(share)
    for count in {max(few - 1, 1), few, 50, 59}:
        threshold = accepting_threshold(RNG.permutation(count).astype(float), share)
        below = 0 if threshold == -np.inf else int(threshold) + 1
        assert below / (count + 1) <= 1 - share + 1e-9
        assert (below + 1) / (count + 1) > 1 - share + 1e-9, "a higher one would do too"
        assert (threshold == -np.inf) == (count < few)


@pytest.mark.parametrize(
    ("scores", "share", "word"),
    [
        ([], 0.9, "at least one"),
        ([np.nan], 0.9, "Scores must be numbers"),
        ([1.0], 1.0, "between 0 and 1; received 1.0"),
        ([1.0], 0.0, "between 0 and 1"),
    ],
)
def test_thresholds_of_nothing_are_refused(scores, share, word):
    with pytest.raises(ValueError, match=word):
        accepting_threshold(np.array(scores), share)


def test_rates_of_a_threshold_by_hand():
    known = [np.array([0.9, 0.5, 0.1]), np.array([0.8, 0.7, 0.6])]
    hits = [np.array([True, False, True]), np.array([True, True, False])]
    unknown = [np.array([0.2, 0.6]), np.array([0.1, 0.4])]
    found = rejection_rates(known, hits, unknown, 0.5)
    shares = {name: number for name, (number, _) in found.items()}
    assert shares == {
        "known_accepted": 5 / 6,
        "known_right": 3 / 6,
        "accepted_accuracy": 3 / 5,
        "unknown_rejected": 3 / 4,
    }
    # Left out in turn: 3 of 3 and 2 of 3.
    assert found["known_accepted"][1] == pytest.approx(1.96 / 6, abs=1e-12)
    nothing = rejection_rates(known, hits, unknown, 2.0)
    assert nothing["accepted_accuracy"] is None
    assert nothing["unknown_rejected"] == [1.0, 0.0]
