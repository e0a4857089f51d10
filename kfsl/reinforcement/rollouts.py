"""Rollouts of a learner's policy, before or after it adapted."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.reinforcement.environment import Environment
from kfsl.reinforcement.trajectories import Trajectories


class Rollouts:
    """Acts with a policy in an environment, all tasks and rollouts at once.

    Args:
        learner: `GradientLearner`, whose objective is `PolicyGradient`.
        environment: `Environment`.
        count: int. Rollouts of each task.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.mlp import MLP
    from kfsl.learners.maml import MAML
    from kfsl.reinforcement.navigation import Navigation
    from kfsl.reinforcement.policy_gradient import PolicyGradient
    from kfsl.reinforcement.rollouts import Rollouts

    learner = MAML(MLP((2,), hidden=(8,)), objective=PolicyGradient(actions=2))
    rollouts = Rollouts(learner, Navigation(horizon=10), count=3)
    goals = np.array([[0.3, 0.1], [-0.2, 0.4]], "float32")
    found = rollouts.collect(rollouts.start(2), goals, seed=(0, 0))
    assert found.observations.shape == (2, 3, 10, 2)
    ```
    """

    def __init__(self, learner: GradientLearner, environment: Environment, count: int) -> None:
        self.learner = learner
        self.environment = environment
        self.count = count

    def start(self, tasks: int) -> dict[str, Any]:
        """Where adaptation begins, for each of some tasks: a state `[B, ...]`."""
        begun = self.learner.adapted_network.start({}, None)
        return {key: tf.stack([value] * tasks) for key, value in begun.items()}

    def collect(
        self, state: dict[str, Any], tasks: np.ndarray, seed: tuple[int, int]
    ) -> Trajectories:
        """Acts.

        Args:
            state: dict of tensors, `[B, ...]`: the policy of each task.
            tasks: float32 array, `[B, ...]`.
            seed: pair of ints. The same gives the same rollouts, bit for bit.

        Returns:
            `Trajectories`.
        """
        environment = self.environment
        shape = (environment.horizon, len(tasks), self.count, environment.action_size)
        noise = tf.random.stateless_normal(shape, seed, alg="philox")
        if environment.in_graph:
            found = self._compiled(state, tf.constant(tasks), noise)
        else:
            act = functools.partial(self._act, state)
            own = int(np.random.SeedSequence([abs(each) for each in seed]).generate_state(1)[0])
            found = environment.roll_out(act, tasks, noise, seed=own % 2**31)
        # Steps come last but one: `[T, B, R, ...]` -> `[B, R, T, ...]`.
        arrays = {name: np.moveaxis(np.asarray(value), 0, 2) for name, value in found.items()}
        return Trajectories(**arrays)

    @functools.cached_property
    def _compiled(self) -> Any:
        def roll_out(state: dict[str, Any], tasks: Any, noise: Any) -> dict[str, Any]:
            policy = functools.partial(self._distributions, state)
            return self.environment.roll_out(policy, tasks, noise, 0)

        # A step is many small operations, whose starting takes longer than they do: XLA fuses them.
        return tf.function(roll_out, autograph=False, jit_compile=True)

    @functools.cached_property
    def _act(self) -> Any:
        return tf.function(self._distributions, autograph=False)

    def _distributions(self, state: dict[str, Any], observations: Any) -> Any:
        """Of all tasks at once: networks of dense layers become products of stacked matrices."""

        def one(task: dict[str, Any]) -> Any:
            return self.learner.infer_task(task, task["observations"])

        return tf.vectorized_map(one, {**state, "observations": observations})
