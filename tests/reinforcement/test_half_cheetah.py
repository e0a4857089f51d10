"""Half-cheetah in Gymnasium's own vector environment."""

import sys

import numpy as np
import pytest

from kfsl.reinforcement import HalfCheetah

gymnasium = pytest.importorskip("gymnasium", reason="the extra kfsl[rl] is not installed")
pytest.importorskip("mujoco", reason="the extra kfsl[rl] is not installed")


def roll_out(environment, tasks, steps=6, seed=3):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(steps, len(tasks), 2, 6)).astype("float32")
    outputs = np.concatenate([np.full((len(tasks), 2, 6), 0.1), np.full((len(tasks), 2, 6), -0.5)],
                             axis=-1).astype("float32")  # fmt: skip
    return environment.roll_out(lambda places: outputs, tasks, noise, seed), noise


@pytest.mark.parametrize("goal", ["direction", "velocity"])
def test_rewards_are_those_of_the_sheet(goal):
    """Each rollout beside Gymnasium's environment alone, given the same actions."""
    environment = HalfCheetah(goal=goal)
    tasks = np.array([[1.0], [-1.0]] if goal == "direction" else [[0.3], [1.7]], "float32")
    found, noise = roll_out(environment, tasks)
    alone = gymnasium.make("HalfCheetah-v5")
    for b in range(2):
        for r in range(2):
            # Gymnasium seeds environment i of a vector with seed + i.
            seen, _ = alone.reset(seed=3 + 2 * b + r)
            for step in range(6):
                np.testing.assert_allclose(found["observations"][step, b, r], seen, atol=1e-5)
                action = 0.1 + np.exp(np.float32(-0.5)) * noise[step, b, r]
                np.testing.assert_allclose(found["actions"][step, b, r], action, atol=1e-6)
                seen, _, _, _, told = alone.step(np.clip(action, -1, 1))
                speed, cost = told["x_velocity"], 0.05 * np.sum(action**2)
                gain = tasks[b, 0] * speed if goal == "direction" else -abs(speed - tasks[b, 0])
                np.testing.assert_allclose(found["rewards"][step, b, r], gain - cost, atol=1e-4)
    assert found["mask"].all()


def test_rollouts_repeat_bit_for_bit():
    tasks = np.array([[1.0], [-1.0]], "float32")
    (first, _), (second, _) = (roll_out(HalfCheetah(), tasks) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    other, _ = roll_out(HalfCheetah(), tasks, seed=4)
    assert not np.array_equal(other["observations"], first["observations"])


def test_tasks_are_directions_and_speeds():
    directions = HalfCheetah().draw_tasks(np.random.default_rng(0), 200)
    assert set(directions.ravel().tolist()) == {-1.0, 1.0}
    speeds = HalfCheetah(goal="velocity").draw_tasks(np.random.default_rng(0), 200)
    assert speeds.min() >= 0.0
    assert 1.9 < speeds.max() <= 2.0


def test_what_is_missing_is_told_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ImportError, match=r"needs Gymnasium and MuJoCo .*pip install 'kfsl\[rl\]'"):
        HalfCheetah()


def test_how_it_is_stepped_makes_no_other_environment():
    assert HalfCheetah().fingerprint == HalfCheetah(vectorization="async").fingerprint
    assert HalfCheetah().fingerprint != HalfCheetah(horizon=100).fingerprint
    for arguments in ({"vectorization": "threads"}, {"horizon": 1001}, {"horizon": 6.5},
                      {"fastest": 0.0}):  # fmt: skip
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}`? must"):
            HalfCheetah(**arguments)


def test_another_goal_is_refused():
    with pytest.raises(ValueError, match=r"`goal` must be one of .*received 'jump'"):
        HalfCheetah(goal="jump")
