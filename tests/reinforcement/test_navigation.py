"""2D navigation: moves, rewards and ends as the sheet has them; rollouts repeat bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.reinforcement import Navigation
from kfsl.reinforcement.environment import task_generator
from kfsl.reinforcement.rollouts import Rollouts
from tests.support.policies import KINDS, policy


def roll_out(environment, goals, means, noise=None):
    """Rollouts of a policy that always gives the same means, with hardly any deviation."""
    batch, size = len(goals), environment.horizon
    noise = np.zeros((size, batch, 1, 2), "float32") if noise is None else noise
    outputs = np.tile([*means, 0.0, 0.0], (batch, noise.shape[2], 1)).astype("float32")
    found = environment.roll_out(lambda places: tf.constant(outputs), goals, tf.constant(noise), 0)
    return {name: value.numpy() for name, value in found.items()}


def test_it_moves_by_clipped_actions_and_pays_the_distance():
    goals = np.array([[0.3, 0.2], [-0.4, 0.1]], "float32")
    found = roll_out(Navigation(horizon=4), goals, (0.25, -0.03))
    places = np.array([[0.1 * t, -0.03 * t] for t in range(5)])
    np.testing.assert_allclose(found["observations"][:, 0, 0], places[:4], atol=1e-6)
    np.testing.assert_allclose(found["actions"][:, 0, 0], [[0.25, -0.03]] * 4)
    for b, goal in enumerate(goals):
        expected = -np.linalg.norm(places[1:] - goal, axis=-1)
        np.testing.assert_allclose(found["rewards"][:, b, 0], expected, atol=1e-6)
    assert found["mask"].all()


def test_it_ends_near_the_goal_in_both_directions():
    """After the second move it stands at (0.2, 0); one goal is near, one in one direction alone."""
    goals = np.array([[0.205, -0.005], [0.205, -0.015]], "float32")
    found = roll_out(Navigation(horizon=5), goals, (0.1, 0.0))
    assert found["mask"][:, 0, 0].tolist() == [True, True, False, False, False]
    assert found["mask"][:, 1, 0].all()
    assert np.all(found["rewards"][2:, 0] == 0)
    # It stays where it was when it ended.
    np.testing.assert_allclose(found["observations"][2:, 0, 0], [[0.2, 0.0]] * 3, atol=1e-6)


def test_actions_are_means_and_deviations_times_noise():
    noise = np.random.default_rng(0).normal(size=(3, 1, 4, 2)).astype("float32")
    found = roll_out(Navigation(horizon=3), np.array([[0.5, 0.5]], "float32"), (0.1, 0.2), noise)
    np.testing.assert_allclose(found["actions"], noise + np.float32([0.1, 0.2]), atol=1e-6)


def test_goals_are_uniform_and_a_function_of_their_stream():
    environment = Navigation()
    goals = environment.draw_tasks(task_generator(0, "train", 0), 4000)
    assert np.abs(goals).max() <= 0.5
    assert np.all(np.abs(goals.mean(axis=0)) < 0.02)
    np.testing.assert_allclose(goals.std(axis=0), 1 / np.sqrt(12), rtol=0.05)
    again = environment.draw_tasks(task_generator(0, "train", 0), 4000)
    np.testing.assert_array_equal(goals, again)
    for other in (task_generator(0, "test", 0), task_generator(1, "train", 0),
                  task_generator(0, "train", 1)):  # fmt: skip
        assert not np.array_equal(goals, environment.draw_tasks(other, 4000))


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_acts_by_its_own_policy_and_rollouts_repeat(kind):
    learner, environment = policy(kind), Navigation(horizon=5)
    rollouts = Rollouts(learner, environment, count=3)
    goals = environment.draw_tasks(np.random.default_rng(1), 2)
    rng = np.random.default_rng(2)
    state = {
        key: tf.constant(value + rng.normal(size=value.shape).astype("float32"))
        for key, value in rollouts.start(2).items()
    }
    found = rollouts.collect(state, goals, (7, 3))
    for b in range(2):
        own = {key: value[b] for key, value in state.items()}
        seen = found.observations[b].reshape(-1, 2)
        outputs = learner.infer_task(own, tf.constant(seen)).numpy().reshape(3, 5, 4)
        np.testing.assert_allclose(found.outputs[b], outputs, atol=1e-5)
    again = rollouts.collect(state, goals, (7, 3))
    np.testing.assert_array_equal(found.actions, again.actions)
    np.testing.assert_array_equal(found.rewards, again.rewards)
    assert not np.array_equal(found.actions, rollouts.collect(state, goals, (7, 4)).actions)
