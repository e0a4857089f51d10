"""The outer derivatives of policies: exact, through the sampled inner step."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kfsl.reinforcement.meta_policy import MetaPolicy
from kfsl.reinforcement.trust_region import TrustRegion, conjugate_gradients
from tests.support.contract import generic
from tests.support.policies import KINDS, policy, two_experiences


@pytest.fixture(scope="module", params=KINDS)
def traced(request):
    """In double precision; what was gathered, and so the noise, is held fixed."""
    gathered = two_experiences(generic(policy(request.param)))
    for each in gathered:
        # Some rollouts ended early, others later or not at all.
        assert len(set(each.mask[0].reshape(3, 8).sum(axis=-1).tolist())) > 1
    keras.config.set_dtype_policy("float64")
    learner = generic(policy(request.param))
    keras.config.set_dtype_policy("float32")
    found = MetaPolicy(learner)
    found.see(*gathered)
    found.gathered = gathered
    # The policies that acted, in double precision: or they would differ by rounding.
    for task in found.tasks:
        state = learner.adapt(task["support"], task["targets"], task["mask"])
        task["outputs"] = learner.infer(state, task["queries"])["distributions"]
    return found


@pytest.fixture
def meta_policy(traced):
    """Given back as it was: tracing takes longer than all tests of it."""
    start, tasks = traced.point, traced.tasks
    yield traced
    traced.point, traced.tasks = start, tasks


def directions(count, number=3):
    rng = np.random.default_rng(0)
    found = rng.normal(size=(number, count))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_gradient_is_that_of_finite_differences(meta_policy):
    """Second order: without the derivative of the inner step it would be another one."""
    start, gradient = meta_policy.point, meta_policy.gradient()
    for direction in directions(len(start)):
        losses = []
        for sign in (1.0, -1.0):
            meta_policy.point = start + sign * 1e-5 * direction
            losses.append(meta_policy.surrogate()[0])
        numeric = (losses[0] - losses[1]) / 2e-5
        np.testing.assert_allclose(gradient @ direction, numeric, rtol=1e-5, atol=1e-9)


def test_fisher_products_are_those_of_the_hessian_of_the_divergence(meta_policy):
    """By differences of its gradient, which a tape gives."""
    start = meta_policy.point

    def slope(point):
        meta_policy.point = point
        total = 0.0
        for task in meta_policy.tasks:
            learner = meta_policy.learner
            with tf.GradientTape() as tape:
                state = learner.adapt(task["support"], task["targets"], task["mask"], training=True)
                outputs = learner.infer(state, task["queries"], training=True)["distributions"]
                gaps = learner.objective.divergence(outputs, task["outputs"])
                value = tf.reduce_sum(tf.cast(task["weights"], "float64") * gaps)
            found = tape.gradient(value, learner.trainable_weights, unconnected_gradients="zero")
            total = total + np.concatenate([np.ravel(each) for each in found])
        return total / len(meta_policy.tasks)

    np.testing.assert_allclose(slope(start), 0.0, atol=1e-12)
    for direction in directions(len(start)):
        numeric = (slope(start + 1e-5 * direction) - slope(start - 1e-5 * direction)) / 2e-5
        meta_policy.point = start
        exact = meta_policy.fisher_product(direction)
        scale = np.max(np.abs(numeric))
        assert scale > 1e-4
        np.testing.assert_allclose(exact, numeric, atol=1e-6 * scale)
        damped = meta_policy.fisher_product(direction, damping=0.5)
        np.testing.assert_allclose(damped - exact, 0.5 * direction, atol=1e-12)


def test_a_step_keeps_the_divergence_and_never_worsens_the_surrogate(meta_policy):
    before, nothing = meta_policy.surrogate()
    assert abs(nothing) < 1e-12
    start = meta_policy.point
    report = TrustRegion(divergence=0.01).step(meta_policy)
    after, divergence = meta_policy.surrogate()
    assert report.halvings is not None
    assert 0.001 < divergence < 0.01
    assert after < before
    np.testing.assert_allclose(before - after, report.improvement, rtol=1e-9)
    assert not np.array_equal(start, meta_policy.point)


def test_the_surrogate_by_hand_where_rollouts_end_early(meta_policy):
    """Rollouts count alike, however long; what stands behind their ends counts for nothing."""
    learner, (before, after) = meta_policy.learner, meta_policy.gathered
    meta_policy.point = meta_policy.point + 0.1 * directions(len(meta_policy.point))[0]
    losses, divergences = [], []
    for b, task in enumerate(meta_policy.tasks):
        kept = before.mask[b]
        lengths = np.repeat(kept.reshape(3, 8).sum(axis=-1), 8)[kept]
        # The inner loss is a mean over all steps: this makes it one over rollouts.
        targets = before.targets[b][kept].astype("float64")
        targets[:, -1] *= kept.sum() / (3 * lengths)
        state = learner.adapt(before.observations[b][kept][None], targets[None])
        acted = np.array(task["outputs"][0])
        for rollout in range(3):
            rows = 8 * rollout + np.arange(after.mask[b].reshape(3, 8)[rollout].sum())
            seen = after.observations[b][rows][None]
            outputs = np.array(learner.infer(state, seen)["distributions"][0])
            new, old = (
                stats.norm(each[:, :2], np.exp(each[:, 2:])) for each in (outputs, acted[rows])
            )
            actions, advantages = np.split(after.targets[b][rows], [2], axis=-1)
            ratios = np.exp((new.logpdf(actions) - old.logpdf(actions)).sum(axis=-1))
            losses.append(-np.mean(ratios * advantages[:, 0]))
            gaps = np.log(old.std() / new.std()) - 0.5
            gaps += (new.var() + (new.mean() - old.mean()) ** 2) / (2 * old.var())
            divergences.append(np.mean(gaps.sum(axis=-1)))
    assert np.mean(divergences) > 1e-4
    expected = np.mean(losses), np.mean(divergences)
    np.testing.assert_allclose(meta_policy.surrogate(), expected, rtol=1e-5)


def test_a_task_is_judged_by_itself(meta_policy):
    """The mean over tasks, and not over all their steps."""
    whole = meta_policy.surrogate()[0]
    alone = []
    for task in list(meta_policy.tasks):
        meta_policy.tasks = [task]
        alone.append(meta_policy.surrogate()[0])
    np.testing.assert_allclose(whole, np.mean(alone), rtol=1e-12)


class Hill:
    """Where no step is good: the loss rises in every direction."""

    def __init__(self):
        self.point = np.ones(3)

    def surrogate(self):
        gap = self.point - 1.0
        return float(gap @ gap), float(gap @ gap)

    def gradient(self):
        return np.ones(3)

    def fisher_product(self, vector, damping=0.0):
        return (2.0 + damping) * vector


def test_a_step_that_nothing_makes_good_is_taken_back():
    hill = Hill()
    report = TrustRegion().step(hill)
    assert report.halvings is None
    assert report.improvement == report.divergence == 0.0
    np.testing.assert_array_equal(hill.point, np.ones(3))


def test_without_a_gradient_there_is_no_step():
    flat = Hill()
    flat.gradient = lambda: np.zeros(3)
    assert TrustRegion().step(flat).halvings is None
    np.testing.assert_array_equal(flat.point, np.ones(3))


def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_dimensions():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, target = root @ root.T + np.eye(6), rng.normal(size=6)
    found = conjugate_gradients(lambda vector: matrix @ vector, target, iterations=6)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"divergence": 0.0}, "`divergence` must be positive; received 0.0"),
        ({"shortening": 1.0}, r"`shortening` must lie in \(0, 1\)"),
        ({"trials": 0}, r"TrustRegion\.trials must be a whole number of at least 1; received 0"),
        ({"iterations": 2.5}, r"TrustRegion\.iterations must be a whole number.*received 2\.5"),
        ({"damping": -1.0}, "`damping` must be at least 0; received -1.0"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrustRegion(**arguments)
