"""Prototypical Networks."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.base.vectors import squared_distances
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic, logits_of


def make(**arguments):
    backbone = Conv4(image_shape=(None, None, 1), filters=8, num_pools=2, bn_momentum=0.9)
    return PrototypicalNetwork(backbone, **arguments)


class TestPrototypicalNetwork(LearnerContract):
    variants = (
        {"bn_policy": "running"},
        {"bn_policy": "support"},
        {"bn_policy": "batch"},
        {"distance": "cosine", "scale": 10.0},
    )
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }

    def make_learner(self, **arguments):
        backbone = two_blocks((None, None, 1), filters=8, bn_momentum=0.9)
        return PrototypicalNetwork(backbone, **arguments)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, 4, 6)).astype("float32"), rng.normal(size=(1, 3, 6)).astype(
        "float32"
    )


def test_one_shot_is_nearest_neighbour(features):
    support, query = features
    learner = make()
    state = learner.adapt(support, np.arange(4)[None])
    np.testing.assert_array_equal(state["prototypes"], support)
    distances = ((query[0, :, None] - support[0, None]) ** 2).sum(-1)
    logits = learner.infer(state, query)["logits"][0]
    np.testing.assert_allclose(logits, -distances, rtol=1e-5)


def test_a_constant_added_to_all_features_changes_nothing(features):
    support, query = features
    learner, labels = make(), np.array([[0, 0, 1, 1]])
    shift = np.linspace(-1, 1, 6, dtype="float32")
    logits = learner.infer(learner.adapt(support, labels), query)["logits"]
    shifted = learner.infer(learner.adapt(support + shift, labels), query + shift)["logits"]
    np.testing.assert_allclose(shifted, logits, rtol=1e-4)


def test_cosine_ignores_lengths(features):
    support, query = features
    learner = make(distance="cosine", scale=10.0)
    state = learner.adapt(support, np.arange(4)[None])
    logits = learner.infer(state, query)["logits"]
    np.testing.assert_allclose(learner.infer(state, 7 * query)["logits"], logits, rtol=1e-5)
    assert np.max(np.abs(logits)) <= 10.0


def test_more_ways_at_training_than_at_test():
    learner = generic(make())
    from kfsl.episodes import EpisodeSpec

    for ways in (7, 2):
        episode, _ = EpisodeSpec(ways, 1, 1, (16, 16, 1)).random_episode()
        assert logits_of(learner, episode).shape == (1, ways, ways)


def test_a_class_without_support_is_never_predicted(features):
    support, query = features
    learner = make(ways=5)
    labels, mask = np.array([[0, 1, 2, 4]]), np.array([[True, True, False, True]])
    logits = learner.infer(learner.adapt(support, labels, mask), query)["logits"].numpy()
    assert np.all(logits[..., [2, 3]] < -1e8)
    assert np.all(logits[..., [0, 1, 4]] > -1e8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "l1"}, "'l1'"),
        ({"bn_policy": "train"}, "'train'"),
        ({"moments": "all"}, "'all'"),
        ({"ways": 1}, "ways=1"),
    ],
)
def test_what_it_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_backbone_that_knows_nothing_of_episodes():
    stock = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    )
    for arguments in ({"bn_policy": "support"}, {"bn_policy": "batch"}, {"moments": "episode"}):
        with pytest.raises(ValueError, match="knows nothing of episodes"):
            PrototypicalNetwork(stock, **arguments)
    assert not PrototypicalNetwork(stock, moments="meta_batch").transductive


@pytest.mark.parametrize("bn_policy", ["running", "support", "batch"])
def test_dropout_acts_in_training_alone(bn_policy):
    def learner(rate):
        return PrototypicalNetwork(
            keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dropout(rate)]),
            bn_policy=bn_policy,
        )

    episode, _ = EpisodeSpec(2, 2, 3, (8, 8, 1)).random_episode()
    dropping, logits = learner(0.5), learner(0.0)(episode)["logits"]
    np.testing.assert_array_equal(dropping(episode)["logits"], logits)
    assert np.abs(dropping(episode, training=True)["logits"] - logits).max() > 1.0


def test_distances_far_from_the_origin_are_right_and_never_negative():
    """At a mean of 100 the sums of squares cancel: the expanded formula gave -10 in float32."""
    rng = np.random.default_rng(0)
    for mean in (0.0, 100.0, 1e4):
        vectors = (mean + rng.normal(0.0, 0.1, (1, 12, 1600))).astype("float32")
        queries, prototypes = vectors[:, :7], vectors[:, 5:]
        exact = vectors.astype("float64")
        expected = np.sum((exact[:, :7, None] - exact[:, None, 5:]) ** 2, axis=-1)
        found = np.asarray(squared_distances(queries, prototypes))
        assert found.min() >= 0.0
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)
