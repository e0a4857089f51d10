"""What was seen, done and earned in the rollouts of some tasks."""

import dataclasses

import numpy as np

#: Or advantages that are all alike would be divided by nothing.
EPSILON = 1e-8


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Rollouts of `B` tasks, `R` each, over at most `T` steps.

    Args:
        observations: float32 array, `[B, R, T, D]`: before each action.
        actions: float32 array, `[B, R, T, A]`: as they were drawn.
        rewards: float32 array, `[B, R, T]`; 0 after the end.
        mask: bool array, `[B, R, T]`; False after the end.
        outputs: float32 array, `[B, R, T, 2 * A]`: the distributions the actions were drawn from.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.trajectories import Trajectories

    rollouts = Trajectories(
        observations=np.zeros((1, 2, 3, 2)), actions=np.zeros((1, 2, 3, 1)),
        rewards=np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]),
        mask=np.array([[[True, True, False], [True, True, True]]]),
        outputs=np.zeros((1, 2, 3, 2)),
    )
    assert rollouts.returns.tolist() == [[2.0, 3.0]]
    assert rollouts.steps == 5
    ```
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    mask: np.ndarray
    outputs: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """Sum of rewards of each rollout, not discounted, `[B, R]`."""
        return self.rewards.sum(axis=-1, dtype="float64")

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return int(self.mask.sum())

    @property
    def finite(self) -> bool:
        """Whether all numbers are; a return can be finite where an action is none."""
        return all(
            bool(np.isfinite(values).all())
            for values in (self.observations, self.actions, self.rewards, self.outputs)
        )

    @property
    def weights(self) -> np.ndarray:
        """What each step counts in a mean over rollouts of means over their steps, `[B, R, T]`."""
        lengths = np.maximum(self.mask.sum(axis=-1, keepdims=True), 1)
        return self.mask / (lengths * self.mask.shape[1])

    def discounted(self, discount: float) -> np.ndarray:
        """Discounted sums of the rewards from each step on, `[B, R, T]`."""
        found = np.zeros(self.rewards.shape, "float64")
        later = np.zeros(self.rewards.shape[:-1], "float64")
        for step in reversed(range(self.rewards.shape[-1])):
            later = self.rewards[..., step] * self.mask[..., step] + discount * later
            found[..., step] = later
        return found


def generalized_advantages(
    trajectories: Trajectories, values: np.ndarray, discount: float, smoothing: float = 1.0
) -> np.ndarray:
    """How much better each step was than expected.

    Args:
        trajectories: `Trajectories`.
        values: float array, `[B, R, T]`: what was expected from each step on.
        discount: float. Gamma.
        smoothing: float. Lambda; 1: sums of rewards to the end.

    Returns:
        float64 array, `[B, R, T]`; 0 after the end.

    Reference:
        [Schulman et al., 2016](https://arxiv.org/abs/1506.02438), equation 16.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.trajectories import Trajectories, generalized_advantages

    rollouts = Trajectories(
        np.zeros((1, 1, 2, 1)), np.zeros((1, 1, 2, 1)), np.array([[[1.0, 3.0]]]),
        np.ones((1, 1, 2), bool), np.zeros((1, 1, 2, 2)),
    )
    found = generalized_advantages(rollouts, np.array([[[0.5, 2.0]]]), discount=0.5)
    assert found.tolist() == [[[1.0 + 0.5 * 3.0 - 0.5, 3.0 - 2.0]]]
    ```
    """
    values = values * trajectories.mask
    following = np.concatenate([values[..., 1:], np.zeros_like(values[..., :1])], axis=-1)
    errors = trajectories.rewards + discount * following - values
    found = np.zeros_like(values, dtype="float64")
    later = np.zeros(values.shape[:-1], "float64")
    for step in reversed(range(values.shape[-1])):
        later = errors[..., step] * trajectories.mask[..., step] + discount * smoothing * later
        found[..., step] = later
    return found * trajectories.mask


def normalized(advantages: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Advantages of each task with mean 0 and deviation 1 over its steps; 0 after the ends."""
    count = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    centred = (advantages - (advantages * mask).sum(axis=(1, 2), keepdims=True) / count) * mask
    deviation = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True) / count)
    return centred / (deviation + EPSILON)
