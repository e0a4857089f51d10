"""CAVIA keeps the contract of learners, and adapts its context alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.cavia import CAVIA
from tests.learners.test_maml import BEFORE_NORMALIZATION
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def small_learner(backbone: keras.Model | None = None, **arguments) -> CAVIA:
    keras.utils.set_random_seed(0)
    if backbone is None:
        backbone = Conv4((8, 8, 1), filters=4, num_pools=2, order="bn-pool-activation")
    return CAVIA(backbone, ways=3, **{"modulated": "block2_pool", "context_size": 6, **arguments})


class TestCAVIA(LearnerContract):
    spec = SPEC
    variants = ({}, {"bn_policy": "support", "modulated": "block2_bn", "steps": 1})
    zero_gradients = BEFORE_NORMALIZATION
    overfitting_steps = 150

    def make_learner(self, **arguments) -> CAVIA:
        backbone = two_blocks((8, 8, 1), filters=4, order="bn-pool-activation")
        return small_learner(backbone, **arguments)


def by_hand(learner: CAVIA, images: np.ndarray, context: np.ndarray) -> np.ndarray:
    """The network layer by layer; images are floats."""
    network = learner.network
    parameters = network.get_layer("film_parameters")
    gamma, beta = np.split(context @ parameters.kernel.numpy() + parameters.bias.numpy(), 2)
    x = images
    for layer in learner.backbone.layers[1:]:
        x = layer(x, training=True) if "bn" in layer.name else layer(x)
        if layer.name == learner.modulated:
            x = gamma * x + beta  # Not 1 + gamma.
    return network.get_layer("head")(tf.reshape(x, (len(images), -1))).numpy()


def random_images() -> np.ndarray:
    return np.random.default_rng(0).random((6, 8, 8, 1)).astype("float32")


@pytest.mark.parametrize("modulated", ["block2_pool", "block1_bn", "block4_activation"])
def test_the_network_with_some_context(modulated):
    learner = generic(small_learner(modulated=modulated))
    context = np.random.default_rng(1).normal(size=6).astype("float32")
    logits, _ = learner.adapted_network([tf.constant(context)], random_images(), training=True)
    np.testing.assert_allclose(
        logits, by_hand(learner, random_images(), context), rtol=1e-4, atol=1e-5
    )


def test_without_a_rate_the_context_stays_zero():
    learner = generic(small_learner(inner_rate=0.0))
    episode, _ = SPEC.random_episode()
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    assert set(state) == {"context", "support_counts"}
    assert np.all(state["context"] == 0.0)
    queries = episode["query_images"][0] / 255.0
    np.testing.assert_allclose(
        learner(episode)["logits"][0],
        by_hand(learner, queries.astype("float32"), np.zeros(6, "float32")),
        rtol=1e-4,
        atol=1e-5,
    )


def test_one_step_is_the_gradient_of_the_context():
    """Against differences, in double precision."""
    keras.config.set_dtype_policy("float64")
    try:
        learner = generic(small_learner(steps=1, inner_rate=0.7))
    finally:
        keras.config.set_dtype_policy("float32")
    episode, _ = SPEC.random_episode()
    labels = episode["support_labels"][0]
    images = learner.preprocessing(episode["support_images"][0])
    state = learner.adapt(episode["support_images"], episode["support_labels"])

    def loss(context: np.ndarray) -> float:
        with moments_scope(1):
            logits, _ = learner.adapted_network([tf.constant(context)], images, training=True)
        return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)))

    differences = [(loss(row) - loss(-row)) / 2e-6 for row in 1e-6 * np.eye(6)]
    assert np.max(np.abs(differences)) > 1e-4
    np.testing.assert_allclose(state["context"][0], -0.7 * np.array(differences), rtol=1e-5)


def test_parameters():
    backbone = Conv4((84, 84, 3), filters=32, order="bn-pool-activation")
    learner = CAVIA(backbone, ways=5)
    assert sum(np.prod(w.shape) for w in learner.trainable_weights) == 39_365
    assert learner.adapted_network.keys == ["context"]
    start = learner.adapted_network.start({})["context"]
    assert start.shape == (100,)
    assert np.all(start == 0.0)
    # As PyTorch starts biases: uniformly within 1 / sqrt(100).
    bias = learner.network.get_layer("film_parameters").bias.numpy()
    assert 0.08 < np.max(np.abs(bias)) <= 0.1


def test_wrong_arguments():
    with pytest.raises(ValueError, match="adapts its context and no weight"):
        small_learner(adapted=("head",))
    with pytest.raises(ValueError, match="no layer 'block9_pool'; the layers are"):
        small_learner(modulated="block9_pool")
    with pytest.raises(ValueError, match="`context_size` must be a whole number of at least 1"):
        small_learner(context_size=0)


def test_film_and_head_begin_within_the_bounds_of_the_authors():
    """Uniform within sqrt(3 / inputs), not sqrt(6 / inputs) or Glorot's sum."""
    backbone = Conv4(image_shape=(84, 84, 3), filters=32, order="bn-pool-activation")
    learner = CAVIA(backbone, ways=5)
    film = learner.network.get_layer("film_parameters").kernel.numpy()
    head = learner.network.get_layer("head").kernel.numpy()
    for kernel, inputs in ((film, 100), (head, 25 * 32)):
        bound = np.sqrt(3.0 / inputs)
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3.0), rtol=0.03)
