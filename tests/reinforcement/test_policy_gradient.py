"""The objective of policies: densities, divergences, and the gradient of a bandit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kfsl.backbones.mlp import MLP
from kfsl.learners import MAML, ConditionalNeuralProcess
from kfsl.reinforcement import PolicyGradient
from tests.support.contract import generic
from tests.support.policies import KINDS, policy

RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(7, 6))
OTHERS = RNG.normal(size=(7, 6))


def test_density_is_that_of_independent_normals():
    actions = RNG.normal(size=(7, 3))
    expected = stats.norm(OUTPUTS[:, :3], np.exp(OUTPUTS[:, 3:])).logpdf(actions).sum(axis=-1)
    found = PolicyGradient(3).log_density(tf.constant(actions), tf.constant(OUTPUTS))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_divergence_is_the_integral():
    """Of one number, on a grid: the mean of log p - log q under p."""
    one, other = np.array([[0.3, -0.2]]), np.array([[-0.4, 0.5]])
    p, q = (stats.norm(each[0, 0], np.exp(each[0, 1])) for each in (one, other))
    grid = np.linspace(-12, 12, 200_001)
    expected = np.trapezoid(p.pdf(grid) * (p.logpdf(grid) - q.logpdf(grid)), grid)
    found = PolicyGradient(1).divergence(tf.constant(one), tf.constant(other))
    np.testing.assert_allclose(found, [expected], rtol=1e-9)
    np.testing.assert_allclose(
        PolicyGradient(3).divergence(tf.constant(OUTPUTS), tf.constant(OUTPUTS)), 0, atol=1e-15
    )


def test_curvature_is_the_hessian_of_the_divergence():
    objective, outputs = PolicyGradient(3), tf.constant(OUTPUTS)
    change = tf.constant(OTHERS)
    with tf.GradientTape() as outer:
        outer.watch(outputs)
        with tf.GradientTape() as inner:
            inner.watch(outputs)
            total = tf.reduce_sum(objective.divergence(outputs, tf.constant(OUTPUTS)))
        slope = inner.gradient(total, outputs)
        along = tf.reduce_sum(slope * change)
    expected = outer.gradient(along, outputs)
    np.testing.assert_allclose(objective.curvature(outputs, change), expected, rtol=1e-10)


def test_gradient_of_a_two_armed_bandit_in_closed_form():
    """A positive action pulls one arm, a negative one the other.

    The expected reward is r0 + (r1 - r0) Phi(m / s); actions at the middles of equal shares of
    probability make the mean over them the expectation.
    """
    mean, log_deviation, arms = 0.4, -0.3, (1.0, 3.0)
    deviation, count = np.exp(log_deviation), 400_000
    shares = (np.arange(count) + 0.5) / count
    actions = mean + deviation * stats.norm.ppf(shares)
    rewards = np.where(actions > 0, arms[1], arms[0])
    outputs = tf.constant(np.tile([mean, log_deviation], (1, count, 1)))
    targets = tf.constant(np.stack([actions, rewards], axis=-1)[None])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = PolicyGradient(1).loss(targets, outputs)
    of_mean, of_log = -tf.reduce_sum(tape.gradient(loss, outputs), axis=(0, 1)).numpy()
    density, gain = stats.norm.pdf(mean / deviation), arms[1] - arms[0]
    np.testing.assert_allclose(of_mean, gain * density / deviation, rtol=1e-4)
    # The derivative for log s: s * d/ds Phi(m / s) = -(m / s) phi(m / s).
    np.testing.assert_allclose(of_log, -gain * density * mean / deviation, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_is_saved_with_its_objective(kind, tmp_path):
    learner = generic(policy(kind))
    learner.save(tmp_path / "policy.keras")
    loaded = keras.saving.load_model(tmp_path / "policy.keras")
    assert isinstance(loaded.objective, PolicyGradient)
    episode, _ = learner.objective.random_episode((2,), shots=4)
    np.testing.assert_array_equal(
        loaded(episode)["distributions"], learner(episode)["distributions"]
    )
    assert type(learner).from_config(learner.get_config()).get_config() == learner.get_config()


def test_count_and_start_are_those_of_the_sheet():
    learner = MAML(MLP((2,), hidden=(100, 100)), objective=PolicyGradient(2))
    assert learner.count_params() == 10_604
    outputs = learner.network(np.zeros((1, 2), "float32"))
    # Without an observation the mean is 0, and deviations begin at 1.
    np.testing.assert_array_equal(outputs, np.zeros((1, 4)))


def test_refusals():
    with pytest.raises(ValueError, match=r"float32 \[B, n, 3\]; received float32.*\(1, 4, 2\)"):
        policy().adapt(np.zeros((1, 4, 2), "float32"), np.zeros((1, 4, 2), "float32"))
    with pytest.raises(ValueError, match=r"PolicyGradient\.actions must be a whole number"):
        PolicyGradient(0)
    with pytest.raises(ValueError, match="answers with numbers"):
        ConditionalNeuralProcess(MLP((5,)), MLP((130,)), objective=PolicyGradient(2))
