"""A point that looks for a goal in the plane."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.argument_checks import check_whole
from kfsl.reinforcement.environment import Environment, Policy


@dataclasses.dataclass(frozen=True)
class Navigation(Environment):
    """2D navigation: a task is a goal that the agent cannot see.

    The agent starts at the origin and sees where it is. An action, clipped to `reach` in each
    direction, moves it; what it earns is minus its distance to the goal after the move. A rollout
    ends near the goal, or after `horizon` steps.

    Args:
        horizon: int. Steps at most.
        reach: float. The farthest move in each direction.
        spread: float. Goals lie within so much of the origin in each direction.
        near: float. A rollout ends closer than this in both directions.

    Raises:
        ValueError: for numbers out of range.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), section 5.3.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.navigation import Navigation

    goals = Navigation().draw_tasks(np.random.default_rng(0), 20)
    assert goals.shape == (20, 2) and np.abs(goals).max() <= 0.5
    ```
    """

    horizon: int = 100
    reach: float = 0.1
    spread: float = 0.5
    near: float = 0.01

    observation_size = 2
    action_size = 2
    in_graph = True

    def __post_init__(self) -> None:
        check_whole("Navigation.horizon", self.horizon, 1)
        if not (self.reach > 0 and self.spread > 0 and self.near >= 0):
            raise ValueError(
                "`reach` and `spread` must be positive and `near` at least 0; received "
                f"reach={self.reach}, spread={self.spread}, near={self.near}."
            )

    def draw_tasks(self, generator: np.random.Generator, count: int) -> np.ndarray:
        return generator.uniform(-self.spread, self.spread, (count, 2)).astype("float32")

    def roll_out(self, policy: Policy, tasks: Any, noise: Any, seed: int = 0) -> dict[str, Any]:
        del seed
        shape = tf.shape(noise)[1:]
        names = ("observations", "actions", "rewards", "mask", "outputs")
        sizes = (2, 2, None, None, 4)
        arrays = [
            tf.TensorArray(
                tf.bool if name == "mask" else tf.float32,
                size=self.horizon,
                element_shape=(*noise.shape[1:3], *([] if size is None else [size])),
            )
            for name, size in zip(names, sizes, strict=True)
        ]
        goals = tf.convert_to_tensor(tasks)[:, None]

        def body(step: Any, place: Any, alive: Any, arrays: list) -> tuple:
            outputs = policy(place)
            action = outputs[..., :2] + tf.exp(outputs[..., 2:]) * noise[step]
            after = self.moved(place, action)
            reward, ended = self.judged(after, goals)
            found = (place, action, tf.where(alive, reward, 0.0), alive, outputs)
            arrays = [a.write(step, value) for a, value in zip(arrays, found, strict=True)]
            return step + 1, tf.where(alive[..., None], after, place), alive & ~ended, arrays

        start = (tf.constant(0), tf.zeros(shape), tf.ones(shape[:2], tf.bool), arrays)
        *_, arrays = tf.while_loop(
            lambda step, *_: step < self.horizon, body, start, maximum_iterations=self.horizon
        )
        return {name: array.stack() for name, array in zip(names, arrays, strict=True)}

    def moved(self, place: Any, action: Any) -> Any:
        """Where an action leads to, `[..., 2]`."""
        return place + tf.clip_by_value(action, -self.reach, self.reach)

    def judged(self, place: Any, goals: Any) -> tuple[Any, Any]:
        """What is earned at a place, `[...]`, and whether it is near the goal."""
        gap = place - goals
        return -tf.norm(gap, axis=-1), tf.reduce_all(tf.abs(gap) < self.near, axis=-1)
