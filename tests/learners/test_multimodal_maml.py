"""MMAML and KML keep the contract of learners; modulation is seen to second order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.maml import MAML
from kfsl.learners.multimodal_maml import MultimodalMAML
from kfsl.networks.replaced_weights import call_with
from tests.learners.test_maml import BEFORE_NORMALIZATION
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic, logits_of

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


#: The paper's own network, whose normalisation has neither factors nor offsets.
BARE = {"bn_scale": False, "bn_center": False}


def small_learner(network=None, **arguments) -> MultimodalMAML:
    keras.utils.set_random_seed(0)
    backbone, encoder = (
        two_blocks((8, 8, 1), filters=4, bn_momentum=0.5, **own) for own in (network or {}, {})
    )
    return MultimodalMAML(
        backbone, encoder, **{"ways": 3, "embedding_size": 6, "steps": 2, **arguments}
    )


class TestMultimodalMAML(LearnerContract):
    spec = SPEC
    variants = (
        {},
        {"generator": "film", "bn_policy": "support", "steps": 1, "adapted": ("head",)},
        {"generator": "film", "network": BARE},
    )
    zero_gradients = {
        **BEFORE_NORMALIZATION,
        "conv/head3": "normalisation takes constants away",
    }
    overfitting_steps = 150

    def make_learner(self, **arguments) -> MultimodalMAML:
        return small_learner(**arguments)


class TestFullModulation(TestMultimodalMAML):
    variants = ({"generator": "full", "bn_policy": "support", "steps": 1, "dense": True},)
    zero_gradients = {
        **BEFORE_NORMALIZATION,
        "conv/head2": "normalisation takes constants away",
    }


def test_counts_are_the_papers():
    shape, widths = (84, 84, 3), (32, 64, 128, 256)
    backbone = Conv4(shape, filters=widths, num_pools=0, strides=2, bn_scale=False, bn_center=False)
    encoder = Conv4(shape, filters=widths, num_pools=0, strides=2)
    for generator, modulation in (("factorised", 751_867), ("film", 546_112)):
        learner = MultimodalMAML(backbone, encoder, ways=5, pooling="average", generator=generator)
        parts = {
            name: sum(int(np.prod(weight.shape)) for weight in weights)
            for name, weights in learner.weight_parts().items()
        }
        assert parts == {"network": 389_701, "modulation": modulation}


def test_an_encoder_whose_moments_are_not_a_tasks_is_refused():
    stock = two_blocks((8, 8, 1), filters=4, normalization="stock")
    backbone = two_blocks((8, 8, 1), filters=4)
    with pytest.raises(ValueError, match=r"`encoder` .* layer 'block1_bn' is Keras's"):
        MultimodalMAML(backbone, stock, ways=3)


def test_generators_of_zero_make_it_maml():
    learner = generic(small_learner())
    for made in learner.generators:
        for weight in made.weights:
            weight.assign(np.zeros(weight.shape))
    plain = MAML(learner.backbone, ways=3, steps=2)
    plain.network.set_weights(learner.network.get_weights())
    episode, _ = SPEC.random_episode(meta_batch=2)
    np.testing.assert_allclose(
        logits_of(learner, episode), logits_of(plain, episode), rtol=1e-4, atol=1e-5
    )


@pytest.fixture
def double_precision():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("part", ["modulation", "network"])
@pytest.mark.parametrize(
    ("generator", "network"),
    [("factorised", {}), ("film", {}), ("full", {}), ("film", BARE)],
    ids=["factorised", "film", "full", "film_behind"],
)
def test_meta_gradients_by_finite_differences(
    generator, network, part, first_order, double_precision
):
    """Through two inner steps, which the first order alone gets wrong."""
    learner = generic(small_learner(network, generator=generator, first_order=first_order))
    episode, labels = SPEC.random_episode(seed=3)

    def loss():
        # Not the learner's own, which is float32.
        state = learner.adapt(episode["support_images"], episode["support_labels"], training=True)
        weights = [state[key][0] for key in learner.adapted_network.keys]
        images = learner.preprocessing(episode["query_images"][0])
        logits = learner.policy_network.query_outputs(weights, images, {}, training=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], logits))

    weights = learner.weight_parts()[part]
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, weights)
    random = np.random.default_rng(0)
    directions = [random.normal(size=weight.shape) for weight in weights]
    along = sum(np.sum(g.numpy() * d) for g, d in zip(gradients, directions, strict=True))
    starts, step = [weight.numpy() for weight in weights], 1e-6
    measured = 0.0
    for sign in (1, -1):
        for weight, start, direction in zip(weights, starts, directions, strict=True):
            weight.assign(start + sign * step * direction)
        measured += sign * float(loss()) / (2 * step)
    error = abs(along - measured) / abs(measured)
    assert (error > 1e-2) if first_order else (error < 1e-7), (along, measured)


def test_what_adapts_is_chosen_apart_from_what_is_modulated():
    *names, embedding = small_learner(adapted=("head",)).adapted_network.keys
    assert embedding == "task_embedding"
    assert names
    assert all("head" in name for name in names)


@pytest.mark.parametrize("generator", ["factorised", "film", "full"])
def test_steps_adapt_the_weights_beneath_a_modulation_that_stays(generator):
    """One step by hand: the gradient of the weights, of a loss that sees them modulated."""
    learner = generic(small_learner(generator=generator, steps=1, inner_rate=0.3))
    episode, _ = SPEC.random_episode()
    images, labels = episode["support_images"], episode["support_labels"]
    state = learner.adapt(images, labels)
    adapted = learner.adapted_network
    start = adapted.start({"inputs": learner.preprocessing(images[0])})
    np.testing.assert_allclose(state["task_embedding"][0], start["task_embedding"], rtol=1e-6)
    (*own, embedding), inputs = start.values(), learner.preprocessing(images[0])
    with tf.GradientTape() as tape:
        tape.watch(own)
        replaced = adapted.modulation.weights(embedding, all_values(adapted.network, own))
        given = {**dict(enumerate(own)), **replaced}
        with moments_scope(1):
            outputs, _ = call_with(adapted.network, given, inputs, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], outputs)
        loss = tf.reduce_mean(losses)
    for key, weight, gradient in zip(adapted.keys, own, tape.gradient(loss, own), strict=False):
        expected = weight - 0.3 * gradient
        np.testing.assert_allclose(state[key][0], expected, rtol=1e-4, atol=1e-6, err_msg=key)


def all_values(network, own):
    others = [variable.value for variable in network.non_trainable_variables]
    return [*own, *others]


def test_the_embedding_depends_on_the_support_set_alone():
    learner = generic(small_learner(steps=0))
    episode, _ = SPEC.random_episode(meta_batch=2)
    embedding = learner.adapt(episode["support_images"], episode["support_labels"])[
        "task_embedding"
    ]
    assert np.any(embedding[0] != embedding[1])
    again = learner.adapt(episode["support_images"], episode["support_labels"][:, ::-1])
    np.testing.assert_array_equal(again["task_embedding"], embedding)
