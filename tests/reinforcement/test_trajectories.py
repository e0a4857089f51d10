"""Returns, advantages and the baseline, against their definitions."""

import numpy as np
import pytest

from kfsl.reinforcement.experience import experience_of
from kfsl.reinforcement.linear_baseline import expected_returns
from kfsl.reinforcement.trajectories import Trajectories, generalized_advantages, normalized

TASKS, ROLLOUTS, STEPS = 2, 3, 5
LENGTHS = np.array([[5, 3, 1], [2, 5, 4]])


@pytest.fixture
def rollouts():
    rng = np.random.default_rng(0)
    mask = np.arange(STEPS) < LENGTHS[..., None]
    shape = (TASKS, ROLLOUTS, STEPS)
    return Trajectories(
        observations=rng.normal(size=(*shape, 2)).astype("float32"),
        actions=rng.normal(size=(*shape, 1)).astype("float32"),
        rewards=(rng.normal(size=shape) * mask).astype("float32"),
        mask=mask,
        outputs=np.zeros((*shape, 2), "float32"),
    )


def each(rollouts):
    """Task, rollout and length of each."""
    return [(b, r, LENGTHS[b, r]) for b in range(TASKS) for r in range(ROLLOUTS)]


def test_discounted_returns_are_sums_to_the_end(rollouts):
    found = rollouts.discounted(0.9)
    for b, r, length in each(rollouts):
        for step in range(length):
            rewards = rollouts.rewards[b, r, step:length]
            expected = np.sum(rewards * 0.9 ** np.arange(length - step))
            np.testing.assert_allclose(found[b, r, step], expected, rtol=1e-6)
    np.testing.assert_allclose(rollouts.returns, rollouts.rewards.sum(-1), rtol=1e-6)
    assert rollouts.steps == LENGTHS.sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.7, 1.0])
def test_advantages_are_the_weighted_sum_of_errors(rollouts, smoothing):
    """Equation 16: the sum of (gamma lambda)^l delta_{t+l}, nothing expected after the end."""
    values = np.random.default_rng(1).normal(size=rollouts.mask.shape)
    found = generalized_advantages(rollouts, values, 0.9, smoothing)
    for b, r, length in each(rollouts):
        expected = np.append(values[b, r, :length], 0.0)
        errors = rollouts.rewards[b, r, :length] + 0.9 * expected[1:] - expected[:-1]
        for step in range(length):
            powers = (0.9 * smoothing) ** np.arange(length - step)
            np.testing.assert_allclose(
                found[b, r, step], np.sum(powers * errors[step:]), rtol=1e-6, atol=1e-12
            )
        assert np.all(found[b, r, length:] == 0)


def test_the_baseline_is_least_squares_over_the_steps_that_were_taken(rollouts):
    values = expected_returns(rollouts, 0.9)
    targets = rollouts.discounted(0.9)
    for b in range(TASKS):
        kept = rollouts.mask[b]
        seen = rollouts.observations[b].astype("float64")
        step = np.broadcast_to(np.arange(STEPS) / 100.0, kept.shape)[..., None]
        features = np.concatenate([seen, seen**2, step, step**2, step**3, step**0], axis=-1)[kept]
        ridge = np.sqrt(1e-5) * np.eye(features.shape[-1])
        design = np.concatenate([features, ridge])
        wanted = np.concatenate([targets[b][kept], np.zeros(len(ridge))])
        slopes, *_ = np.linalg.lstsq(design, wanted, rcond=None)
        np.testing.assert_allclose(values[b][kept], features @ slopes, atol=1e-6)
        assert np.all(values[b][~kept] == 0)


def test_normalised_advantages_of_each_task(rollouts):
    raw = np.random.default_rng(2).normal(3.0, 2.0, rollouts.mask.shape)
    found = normalized(raw, rollouts.mask)
    for b in range(TASKS):
        kept = found[b][rollouts.mask[b]]
        np.testing.assert_allclose([kept.mean(), kept.std()], [0, 1], atol=1e-7)
        assert np.all(found[b][~rollouts.mask[b]] == 0)


def test_experience_counts_rollouts_alike_however_long(rollouts):
    found = experience_of(rollouts, 0.9)
    assert found.observations.shape == (TASKS, ROLLOUTS * STEPS, 2)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-6)
    values = np.random.default_rng(3).normal(size=rollouts.mask.shape)
    rows = values.reshape(TASKS, -1)
    for b in range(TASKS):
        means = [values[b, r, : LENGTHS[b, r]].mean() for r in range(ROLLOUTS)]
        np.testing.assert_allclose((found.weights[b] * rows[b]).sum(), np.mean(means), rtol=1e-6)
        # A plain mean over the steps that are left, of targets that were scaled.
        scaled = found.weighted_targets[b, :, -1] / np.where(
            found.mask[b], found.targets[b, :, -1], 1.0
        )
        kept = found.mask[b]
        np.testing.assert_allclose(np.mean(scaled[kept] * rows[b][kept]), np.mean(means), rtol=1e-5)
