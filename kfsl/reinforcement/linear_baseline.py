"""What a rollout is expected to earn, as a linear function of simple features."""

import numpy as np

from kfsl.reinforcement.trajectories import Trajectories

REGULARIZATION = 1e-5
#: Steps count in hundreds.
STEPS = 100.0


def expected_returns(trajectories: Trajectories, discount: float) -> np.ndarray:
    """Fits each task's discounted returns, and gives what the fit says of each step.

    Features are an observation, its squares, the step, its square and cube, and one.

    Args:
        trajectories: `Trajectories`.
        discount: float. Gamma.

    Returns:
        float64 array, `[B, R, T]`; 0 after the ends.

    Reference:
        [Duan et al., 2016](https://arxiv.org/abs/1604.06778), section 2.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.linear_baseline import expected_returns
    from kfsl.reinforcement.trajectories import Trajectories

    rng = np.random.default_rng(0)
    places = rng.normal(size=(1, 4, 5, 2))
    rollouts = Trajectories(
        places, np.zeros((1, 4, 5, 1)), places[..., 0] ** 2, np.ones((1, 4, 5), bool),
        np.zeros((1, 4, 5, 2)),
    )
    # Of what is earned at once, a linear function of the squares.
    assert np.allclose(expected_returns(rollouts, 0.0), rollouts.rewards, atol=1e-3)
    ```
    """
    features = _features(trajectories)
    count = features.shape[-1]
    flat = features.reshape(len(features), -1, count)
    targets = trajectories.discounted(discount) * trajectories.mask
    targets = targets.reshape(len(features), -1, 1)
    squares = flat.transpose(0, 2, 1) @ flat + REGULARIZATION * np.eye(count)
    slopes = np.linalg.solve(squares, flat.transpose(0, 2, 1) @ targets)
    return (flat @ slopes).reshape(trajectories.mask.shape)


def _features(trajectories: Trajectories) -> np.ndarray:
    """`[B, R, T, F]`; zeros after the ends."""
    mask = trajectories.mask[..., None].astype("float64")
    seen = trajectories.observations.astype("float64") * mask
    steps = mask * (np.arange(trajectories.mask.shape[-1]) / STEPS)[:, None]
    return np.concatenate([seen, seen**2, steps, steps**2, steps**3, mask], axis=-1)
