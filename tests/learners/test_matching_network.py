"""Matching Networks."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.matching_network import MatchingNetwork
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract


def make(**arguments):
    backbone = Conv4(image_shape=(None, None, 1), filters=8, num_pools=2, bn_momentum=0.9)
    return MatchingNetwork(backbone, **arguments)


class TestMatchingNetwork(LearnerContract):
    variants = (
        {"aggregation": "sum_attention"},
        {"aggregation": "sum_logits"},
        {"bn_policy": "support"},
        {"bn_policy": "batch"},
    )
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }

    def make_learner(self, **arguments):
        backbone = two_blocks((None, None, 1), filters=8, bn_momentum=0.9)
        return MatchingNetwork(backbone, **arguments)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    vectors = np.abs(rng.normal(size=(1, 7, 6))).astype("float32")
    return vectors[:, :4], vectors[:, 4:]


def probabilities(learner, support, labels, query):
    logits = learner.infer(learner.adapt(support, labels), query)["logits"]
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]


def test_paper_form_sums_the_attention_of_a_class(features):
    support, query = features
    similarity = query[0] @ (support[0] / np.linalg.norm(support[0], axis=-1, keepdims=True)).T
    attention = np.exp(similarity) / np.exp(similarity).sum(-1, keepdims=True)
    expected = np.stack([attention[:, [0, 2]].sum(-1), attention[:, [1, 3]].sum(-1)], axis=-1)
    actual = probabilities(make(), support, np.array([[0, 1, 0, 1]]), query)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_code_form_sums_similarities(features):
    support, query = features
    similarity = query[0] @ (support[0] / np.linalg.norm(support[0], axis=-1, keepdims=True)).T
    learner = make(aggregation="sum_logits")
    logits = learner.infer(learner.adapt(support, np.array([[0, 1, 0, 1]])), query)["logits"][0]
    expected = np.stack([similarity[:, [0, 2]].sum(-1), similarity[:, [1, 3]].sum(-1)], axis=-1)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_a_larger_class_has_no_advantage(features):
    """Twice the same image says no more than once."""
    support, query = features
    learner = make(aggregation="sum_logits")
    support = support[:, [0, 0, 1, 2]]
    labels, mask = np.array([[0, 0, 1, 2]]), np.array([[True, False, True, True]])
    twice = learner.infer(learner.adapt(support, labels), query)["logits"]
    once = learner.infer(learner.adapt(support, labels, mask), query)["logits"]
    # Sums are scaled to the mean number of images in a class.
    np.testing.assert_allclose(twice, once * 4 / 3, rtol=1e-5)


def test_both_forms_agree_for_one_shot_and_differ_for_two(features):
    support, query = features
    forms = [make(aggregation=form) for form in ("sum_attention", "sum_logits")]
    one_shot = [probabilities(form, support, np.arange(4)[None], query) for form in forms]
    np.testing.assert_allclose(*one_shot, rtol=1e-5)
    two_shot = [probabilities(form, support, np.array([[0, 1, 0, 1]]), query) for form in forms]
    assert np.max(np.abs(two_shot[0] - two_shot[1])) > 1e-3


def test_scaling_a_support_changes_nothing_when_supports_are_normalised(features):
    support, query = features
    scales = np.array([1, 2, 3, 4], "float32")[None, :, None]
    labels = np.arange(4)[None]
    for normalize, same in (("support", True), ("both", True), ("query", False)):
        learner = make(normalize=normalize)
        plain = probabilities(learner, support, labels, query)
        scaled = probabilities(learner, support * scales, labels, query)
        assert np.allclose(scaled, plain, atol=1e-6) == same


def test_scaling_a_query_scales_its_logits(features):
    support, query = features
    learner = make(aggregation="sum_logits")
    state = learner.adapt(support, np.arange(4)[None])
    logits = learner.infer(state, query)["logits"]
    np.testing.assert_allclose(learner.infer(state, 3 * query)["logits"], 3 * logits, rtol=1e-5)


def test_cosine_loss_has_a_floor(features):
    """Non-negative features have cosines in 0..1: the 5-way loss is at least log(1 + 4 / e)."""
    identity = np.eye(5, dtype="float32")[None]
    best = probabilities(make(normalize="both"), identity, np.arange(5)[None], identity)
    np.testing.assert_allclose(-np.log(np.diag(best)), np.log(1 + 4 / np.e), rtol=1e-5)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="'mean'"):
        make(aggregation="mean")
    with pytest.raises(ValueError, match="'none'"):
        make(normalize="none")
