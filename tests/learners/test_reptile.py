"""Reptile keeps the contract of learners, and updates as its paper says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.reptile import Reptile
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract

BEFORE_NORMALIZATION = {
    f"block{i}_conv/bias": "normalisation takes constants away" for i in range(1, 5)
}
SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def reptile(**arguments) -> Reptile:
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2)
    return Reptile(backbone, ways=3, **arguments)


class TestReptile(LearnerContract):
    # A mini-batch of more images than there are: all of them, so that no draw makes a difference.
    variants = ({"steps": 6, "inner_rate": 1e-2, "inner_batch": 30, "train_on": "pooled"},)
    spec = SPEC
    zero_gradients = BEFORE_NORMALIZATION

    def make_learner(self, **arguments) -> Reptile:
        return Reptile(two_blocks((8, 8, 1), filters=4), ways=3, **arguments)


def meta_gradients(learner, episode, labels):
    learner.compile(keras.optimizers.SGD(1.0))
    outputs, loss, found = learner.loss_and_gradients(episode, labels)
    return outputs, loss, [tensor.numpy() for tensor in found]


def support_gradients(learner, episode, task):
    """Gradient of the mean cross-entropy of one support set, by the plainest means."""
    images = learner.preprocessing(episode["support_images"][task])
    labels = episode["support_labels"][task]
    with tf.GradientTape() as tape:
        logits = learner.network(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    return [g.numpy() for g in tape.gradient(loss, learner.trainable_weights)]


def mean_support_gradients(learner, episode, tasks=2):
    apart = [support_gradients(learner, episode, task) for task in range(tasks)]
    return [np.mean(found, axis=0) for found in zip(*apart, strict=True)]


def assert_all_close(actual, expected, atol=1e-6):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def test_one_sgd_step_gives_the_mean_support_gradient():
    learner = reptile(steps=1, inner_optimizer="sgd", inner_rate=0.25)
    episode, labels = SPEC.random_episode(meta_batch=2)
    expected = mean_support_gradients(learner, episode)
    _, _, found = meta_gradients(learner, episode, labels)
    assert_all_close(found, [0.25 * g for g in expected])
    assert max(np.max(np.abs(g)) for g in found) > 1e-2
    scaled = reptile(steps=1, inner_optimizer="sgd", inner_rate=0.25, scale=0.25)
    assert_all_close(meta_gradients(scaled, episode, labels)[2], expected, 4e-6)


def test_the_last_gradient_of_one_step_is_the_support_gradient():
    learner = reptile(steps=1, meta_gradient="last")
    episode, labels = SPEC.random_episode(meta_batch=2)
    expected = mean_support_gradients(learner, episode)
    assert_all_close(meta_gradients(learner, episode, labels)[2], expected)


@pytest.mark.parametrize("batch", [None, 4])
def test_the_last_gradient_is_the_last_step_of_the_inner_loop(batch):
    arguments = {"inner_optimizer": "sgd", "inner_rate": 0.1, "inner_batch": batch}
    episode, labels = SPEC.random_episode(meta_batch=2)
    episode["seed"] = np.array([3, 5])
    _, _, last = meta_gradients(
        reptile(steps=4, meta_gradient="last", **arguments), episode, labels
    )
    _, _, long = meta_gradients(reptile(steps=4, **arguments), episode, labels)
    _, _, short = meta_gradients(reptile(steps=3, **arguments), episode, labels)
    assert_all_close([0.1 * g for g in last], [a - b for a, b in zip(long, short, strict=True)])


def test_an_outer_rate_of_one_arrives_at_the_mean_of_the_adapted_weights():
    learner = reptile(steps=3, inner_batch=2)
    episode, labels = SPEC.random_episode(meta_batch=2)
    episode["seed"] = np.array([1, 2])
    state = learner.adapt(
        episode["support_images"], episode["support_labels"], seed=episode["seed"], training=True
    )
    learner.compile(keras.optimizers.SGD(1.0))
    learner.train_step((episode, labels))
    for key, weight in zip(learner.adapted_network.keys, learner.trainable_weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), np.mean(state[key], axis=0), atol=1e-6)


def test_training_reads_the_queries_only_where_it_is_told_to():
    episode, labels = SPEC.random_episode(meta_batch=2)
    changed = {**episode, "query_images": 255 - episode["query_images"]}
    for train_on, same in (("support", True), ("pooled", False)):
        learner = reptile(steps=2, train_on=train_on)
        first, second = (meta_gradients(learner, e, labels)[2] for e in (episode, changed))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) == same


def test_pooled_training_is_training_on_a_larger_support_set():
    episode, labels = SPEC.random_episode(meta_batch=2)
    larger = {
        **episode,
        "support_images": np.concatenate([episode["support_images"], episode["query_images"]], 1),
        "support_labels": np.concatenate([episode["support_labels"], labels], 1),
    }
    pooled = meta_gradients(reptile(steps=2, train_on="pooled"), episode, labels)
    plain = meta_gradients(reptile(steps=2), larger, labels)
    assert_all_close(pooled[2], plain[2])
    np.testing.assert_allclose(pooled[1], plain[1], rtol=1e-5)


def test_weights_that_do_not_adapt_stay():
    learner = reptile(steps=2, adapted=("head",))
    episode, labels = SPEC.random_episode()
    _, _, found = meta_gradients(learner, episode, labels)
    moving = [bool(np.any(gradient)) for gradient in found]
    assert moving == ["head" in weight.path for weight in learner.trainable_weights]


def test_evaluation_has_steps_and_batch_of_its_own():
    learner = reptile(steps=2, evaluation_steps=5, inner_batch=2, evaluation_batch=6)
    episode, _ = SPEC.random_episode()
    images, labels = episode["support_images"][0], episode["support_labels"][0]
    seed = tf.constant([0, 0], tf.int64)

    def losses(learner, **arguments):
        return learner.adapt_task(images, labels, seed=seed, **arguments)[1].numpy()

    assert losses(learner, training=True).shape == (2,)
    found = losses(learner, training=False)
    # Six of six images: the whole support set, in another order.
    np.testing.assert_allclose(found, losses(reptile(steps=5)), rtol=1e-4)
    assert np.max(np.abs(found - losses(reptile(steps=5, inner_batch=2)))) > 1e-2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner_optimizer": "rmsprop"}, "inner_optimizer"),
        ({"meta_gradient": "first"}, "meta_gradient"),
        ({"train_on": "query"}, "train_on"),
        ({"scale": 0.0}, "`scale` must be a positive number; received 0.0"),
        ({"evaluation_batch": 0, "inner_batch": 2}, "`evaluation_batch` must be a whole number"),
        ({"meta_gradient": "last", "steps": 0}, "needs an inner step"),
        ({"weight_decay": 0.1}, "weight_decay=0.1"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        reptile(**arguments)


def test_the_network_of_the_multi_shot_protocol():
    learner = Reptile(Conv4((28, 28, 1), order="pool-bn-activation"), ways=20)
    assert sum(int(np.prod(weight.shape)) for weight in learner.trainable_weights) == 113_236
