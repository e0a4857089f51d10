"""Rollouts as what a learner learns from: observations, actions and their advantages."""

import dataclasses

import numpy as np

from kfsl.reinforcement.linear_baseline import expected_returns
from kfsl.reinforcement.trajectories import Trajectories, generalized_advantages, normalized


@dataclasses.dataclass(frozen=True)
class Experience:
    """Steps of `B` tasks, `S = R * T` each, in rows.

    Args:
        observations: float32 array, `[B, S, D]`.
        targets: float32 array, `[B, S, A + 1]`: actions, and advantages behind them.
        mask: bool array, `[B, S]`; False after the end of a rollout.
        weights: float32 array, `[B, S]`: what each step counts; of a task they add up to 1.
        outputs: float32 array, `[B, S, 2 * A]`: the distributions the actions were drawn from.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.experience import experience_of
    from kfsl.reinforcement.trajectories import Trajectories

    rng = np.random.default_rng(0)
    rollouts = Trajectories(
        rng.normal(size=(1, 2, 3, 2)), rng.normal(size=(1, 2, 3, 1)), rng.normal(size=(1, 2, 3)),
        np.ones((1, 2, 3), bool), np.zeros((1, 2, 3, 2)),
    )
    found = experience_of(rollouts, discount=0.95)
    assert found.targets.shape == (1, 6, 2)
    assert abs(found.targets[..., -1].mean()) < 1e-6
    ```
    """

    observations: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    weights: np.ndarray
    outputs: np.ndarray

    @property
    def tasks(self) -> int:
        return len(self.observations)

    @property
    def weighted_targets(self) -> np.ndarray:
        """Targets whose advantages are scaled so that a mean over the steps that are left is the
        mean over rollouts of means over their steps.
        """
        scale = self.weights * self.mask.sum(axis=1, keepdims=True)
        scaled = self.targets.copy()
        scaled[..., -1] *= scale
        return scaled


def experience_of(
    trajectories: Trajectories, discount: float = 0.95, smoothing: float = 1.0
) -> Experience:
    """Estimates advantages with a linear baseline fitted to the rollouts of each task.

    Args:
        trajectories: `Trajectories`.
        discount: float. Gamma.
        smoothing: float. Lambda of generalised advantage estimation.

    Returns:
        `Experience`, its advantages normalised task by task.
    """
    values = expected_returns(trajectories, discount)
    advantages = generalized_advantages(trajectories, values, discount, smoothing)
    advantages = normalized(advantages, trajectories.mask)

    def rows(values: np.ndarray, kind: str = "float32") -> np.ndarray:
        tasks, rollouts, steps = trajectories.mask.shape
        return values.reshape(tasks, rollouts * steps, *values.shape[3:]).astype(kind)

    return Experience(
        rows(trajectories.observations),
        rows(np.concatenate([trajectories.actions, advantages[..., None]], axis=-1)),
        rows(trajectories.mask, "bool"),
        rows(trajectories.weights),
        rows(trajectories.outputs),
    )
