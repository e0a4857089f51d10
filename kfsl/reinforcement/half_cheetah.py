"""A running machine of MuJoCo, which is to run one way, or at some speed."""

import dataclasses
import functools
from typing import Any

import numpy as np

from kfsl.argument_checks import check_whole
from kfsl.reinforcement.environment import Environment, Policy

GOALS = ("direction", "velocity")
VECTORIZATIONS = ("sync", "async")
#: Steps after which Gymnasium cuts a rollout.
LONGEST = 1000
CONTROL_COST = 0.05


@dataclasses.dataclass(frozen=True)
class HalfCheetah(Environment):
    """Half-cheetah: a task is a direction, forwards or backwards, or a speed.

    It earns its speed in that direction, or minus the distance of its speed to the one of the
    task, and pays for the squares of its actions. Gymnasium's `HalfCheetah-v5`, in Gymnasium's own
    vector environment, is what it runs in; the agent sees what that shows, 17 numbers.

    Args:
        goal: str. `"direction"` or `"velocity"`.
        horizon: int. Steps of a rollout.
        fastest: float. Speeds of tasks are uniform from 0 to this.
        vectorization: str. Gymnasium's `"sync"`, all in this process, or `"async"`, a process for
            each rollout.

    Raises:
        ValueError: for another goal, or numbers out of range.
        ImportError: without Gymnasium or MuJoCo, with the command that installs them.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), section 5.3.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement import HalfCheetah

    speeds = HalfCheetah(goal="velocity").draw_tasks(np.random.default_rng(0), 20)
    assert speeds.shape == (20, 1) and 0 <= speeds.min() and speeds.max() <= 2
    ```
    """

    goal: str = "direction"
    horizon: int = 200
    fastest: float = 2.0
    vectorization: str = "sync"

    of_speed = ("vectorization",)
    observation_size = 17
    action_size = 6

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise ValueError(f"`goal` must be one of {GOALS}; received {self.goal!r}.")
        if self.vectorization not in VECTORIZATIONS:
            raise ValueError(
                f"`vectorization` must be one of {VECTORIZATIONS}; received {self.vectorization!r}."
            )
        check_whole("HalfCheetah.horizon", self.horizon, 1, LONGEST)
        if not self.fastest > 0:
            raise ValueError(f"`fastest` must be positive; received {self.fastest}.")
        gymnasium()

    def draw_tasks(self, generator: np.random.Generator, count: int) -> np.ndarray:
        if self.goal == "direction":
            return generator.choice([-1.0, 1.0], (count, 1)).astype("float32")
        return generator.uniform(0.0, self.fastest, (count, 1)).astype("float32")

    def rewards(self, speeds: np.ndarray, actions: np.ndarray, tasks: np.ndarray) -> np.ndarray:
        """What is earned.

        Args:
            speeds: array, `[B, R]`.
            actions: array, `[B, R, 6]`, as they were drawn.
            tasks: array, `[B, 1]`.

        Returns:
            Array, `[B, R]`.
        """
        cost = CONTROL_COST * np.sum(actions**2, axis=-1)
        if self.goal == "direction":
            return tasks * speeds - cost
        return -np.abs(speeds - tasks) - cost

    def roll_out(self, policy: Policy, tasks: Any, noise: Any, seed: int = 0) -> dict[str, Any]:
        noise, tasks = np.asarray(noise), np.asarray(tasks)
        steps, batch, rollouts, size = noise.shape
        environments = vector_environment(batch * rollouts, self.vectorization)
        seen, _ = environments.reset(seed=seed)
        found: dict[str, list] = {name: [] for name in ("observations", "actions", "rewards",
                                                        "outputs")}  # fmt: skip
        for step in range(steps):
            places = seen.astype("float32").reshape(batch, rollouts, -1)
            outputs = np.asarray(policy(places))
            actions = outputs[..., :size] + np.exp(outputs[..., size:]) * noise[step]
            seen, _, _, _, told = environments.step(np.clip(actions, -1.0, 1.0).reshape(-1, size))
            speeds = np.asarray(told["x_velocity"], "float32").reshape(batch, rollouts)
            rewards = self.rewards(speeds, actions, tasks).astype("float32")
            for name, value in zip(found, (places, actions, rewards, outputs), strict=True):
                found[name].append(value)
        stacked = {name: np.stack(values) for name, values in found.items()}
        return {**stacked, "mask": np.ones((steps, batch, rollouts), bool)}


def gymnasium() -> Any:
    """The module.

    Raises:
        ImportError: if it, or MuJoCo, is missing.
    """
    try:
        import gymnasium
        import mujoco  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"HalfCheetah needs Gymnasium and MuJoCo ({error}). Install them: "
            "pip install 'kfsl[rl]'"
        ) from error
    return gymnasium


@functools.lru_cache(maxsize=2)
def vector_environment(count: int, vectorization: str) -> Any:
    """Gymnasium's vector environment of half-cheetahs.

    Made once: it takes seconds, and each reset begins anew.

    Args:
        count: int. How many.
        vectorization: str. `"sync"` or `"async"`.

    Returns:
        `gymnasium.vector.VectorEnv`.
    """
    return gymnasium().make_vec("HalfCheetah-v5", num_envs=count, vectorization_mode=vectorization)
