"""Prototypical Networks with cross-modulation: the contract, and its formula pair by pair."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.cross_modulation_prototypical_network import (
    CrossModulationPrototypicalNetwork,
)
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support.contract import LearnerContract, generic
from tests.support.pair_reference import preprocessed, random_modulation, reference_features

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def make(**arguments):
    backbone = Conv4((None, None, 1), filters=8, num_pools=2, bn_momentum=0.9)
    return CrossModulationPrototypicalNetwork(backbone, **arguments)


class TestCrossModulationPrototypicalNetwork(LearnerContract):
    variants = ({}, {"bn_policy": "batch"})
    spec = SPEC
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }

    def make_learner(self, **arguments):
        # Features of noise are close to each other: without the factor all logits are alike.
        return make(scale=10.0, pairs_at_once=18, **arguments)


@pytest.fixture
def learner():
    keras.utils.set_random_seed(0)
    return generic(make(scale=50.0))


def test_distances_of_mean_features_pair_by_pair(learner):
    random_modulation(learner)
    episode, _ = SPEC.random_episode()
    images = (preprocessed(learner, episode[key][0]) for key in ("support_images", "query_images"))
    queries, supports = reference_features(learner, *images)
    labels = episode["support_labels"][0]
    expected = np.zeros((SPEC.query_size, SPEC.ways))
    for query in range(SPEC.query_size):
        for label in range(SPEC.ways):
            rows = np.flatnonzero(labels == label)
            of_query = tf.gather(queries[query], rows).numpy().mean(axis=0)
            prototype = tf.gather(supports[query], rows).numpy().mean(axis=0)
            expected[query, label] = -50.0 * np.sum((of_query - prototype) ** 2)
    assert np.ptp(expected) > 0.1
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(learner(episode)["logits"][0], expected, atol=1e-5 * scale)


def test_without_modulation_it_is_a_prototypical_network(learner):
    for modulation in learner.modulations:
        for weight in modulation.film.weights:
            weight.assign(np.zeros(weight.shape))
    baseline = PrototypicalNetwork(learner.backbone, scale=50.0)
    episode, _ = SPEC.random_episode()
    expected = baseline(episode)["logits"]
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(learner(episode)["logits"], expected, atol=1e-5 * scale)
