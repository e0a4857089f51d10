"""Ratios of losses: what they are, and that the learner is afterwards what it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.analysis.multimodal.loss_ratios import LossRatios
from kfsl.episodes import EpisodeSpec
from kfsl.learners.multimodal_maml import MultimodalMAML
from tests.support import gradient_runs, letters, mixed_runs
from tests.support.backbones import two_blocks

RATE = 0.05
LEARNERS = {
    "prototypes": letters.prototypical_network,
    "gradient steps": gradient_runs.letters_maml,
    "modulated": mixed_runs.mixed_network,
}


def tasks(count, first=0):
    spec = EpisodeSpec(3, 1, 4, letters.SHAPE)
    return [spec.random_episode(seed=first + i) for i in range(count)]


def loss(learner, task):
    episode, labels = task
    outputs = learner(episode, training=False)
    return float(learner.objective.loss(labels, outputs["logits"]))


@pytest.mark.parametrize("made", LEARNERS.values(), ids=LEARNERS)
def test_ratios_are_those_of_a_plain_step(made):
    learner, copy = made(), made()
    sources, targets = tasks(2), tasks(2, first=10)
    found = LossRatios(learner, RATE).of(sources, targets)
    assert found.shape == (2, 2)
    weights = [weight.numpy() for weight in copy.weights]
    for i, (episode, labels) in enumerate(sources):
        before = [loss(copy, target) for target in targets]
        with tf.GradientTape() as tape:
            own = copy.compute_loss(episode, labels, copy(episode, training=True))
        gradients = tape.gradient(own, copy.trainable_weights)
        # Moving averages stay what they were; weights take the step.
        for weight, value in zip(copy.weights, weights, strict=True):
            weight.assign(value)
        keras.optimizers.SGD(RATE).apply(gradients, copy.trainable_weights)
        after = [loss(copy, target) for target in targets]
        np.testing.assert_allclose(found[i], np.divide(after, before), rtol=2e-5)
        assert np.abs(found[i] - 1.0).min() > 1e-4
        for weight, value in zip(copy.weights, weights, strict=True):
            weight.assign(value)


@pytest.mark.parametrize("made", LEARNERS.values(), ids=LEARNERS)
def test_without_a_step_nothing_changes(made):
    ratios = LossRatios(made(), rate=0.0).of(tasks(2), tasks(2, first=10))
    np.testing.assert_array_equal(ratios, np.ones((2, 2)))


def multimodal_maml():
    keras.utils.set_random_seed(0)
    backbone, encoder = (two_blocks(letters.SHAPE, filters=4) for _ in range(2))
    return MultimodalMAML(backbone, encoder, ways=3, steps=1, embedding_size=6, bn_policy="running")


@pytest.mark.parametrize(
    "made", [letters.prototypical_network, mixed_runs.mixed_network, multimodal_maml]
)
def test_the_learner_trains_on_as_if_nothing_had_been_asked(made):
    learners = [made() for _ in range(2)]
    for learner in learners:
        learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
        learner.train_on_batch(*tasks(1)[0])
    asked, other = learners
    variables = [asked.variables, asked.optimizer.variables]
    before = [[variable.numpy() for variable in each] for each in variables]
    optimizer = asked.optimizer
    LossRatios(asked, RATE).of(tasks(2, first=5), tasks(1, first=10))
    assert asked.optimizer is optimizer
    for each, values in zip(variables, before, strict=True):
        for variable, value in zip(each, values, strict=True):
            np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    for learner in learners:
        learner.train_on_batch(*tasks(1, first=20)[0])
    for one, two in zip(asked.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


def test_an_error_leaves_the_learner_whole():
    learner = letters.prototypical_network()
    before = learner.get_weights()
    broken = ({"support_images": None}, None)
    with pytest.raises(ValueError, match="query_images"):
        LossRatios(learner, RATE).losses([broken], tasks(1)[0])
    for value, weight in zip(before, learner.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="at least 0; received rate=-1"):
        LossRatios(letters.prototypical_network(), -1.0)


def test_a_loss_of_zero_is_refused(monkeypatch):
    measured = LossRatios(letters.prototypical_network(), RATE)
    monkeypatch.setattr(measured, "losses", lambda targets: np.array([0.5, 0.0]))
    with pytest.raises(ValueError, match=r"loss of target task 1 is 0\.0, so there is no ratio"):
        measured.of([], tasks(2))


def test_a_step_that_is_too_large_is_refused():
    learner = letters.prototypical_network()
    with pytest.raises(ValueError, match="no longer finite; take a smaller rate"):
        LossRatios(learner, rate=1e38).of(tasks(1), tasks(1, first=10))
    assert all(np.isfinite(value).all() for value in learner.get_weights())
