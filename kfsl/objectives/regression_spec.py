"""The size of a task that is a function, and small ones to try a learner on."""

import dataclasses

import numpy as np

from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS


@dataclasses.dataclass(frozen=True)
class RegressionSpec:
    """The size of a regression task: some points of a function are given, others are asked.

    An episode is a flat dict with a leading meta-batch axis `B`:

    - `support_inputs`: float32, `[B, S, *input_shape]`.
    - `support_targets`: float32, `[B, S, width]`.
    - `query_inputs`: float32, `[B, Q, *input_shape]`.
    - `support_mask`: optional bool, `[B, S]`; `False` marks padding.
    - `seed`: as in `EpisodeSpec`.

    The targets of the queries travel beside it, float32 `[B, Q, width]`.

    Args:
        points: int. Given points.
        queries: int. Points that are asked.
        input_shape: tuple of ints. The shape of one input.
        width: int. Numbers of an answer.

    Raises:
        ValueError: if a size is not positive.

    Example:
    ```python
    from kfsl.objectives.regression_spec import RegressionSpec

    episode, targets = RegressionSpec(points=10, queries=4, width=3).random_episode(meta_batch=2)
    assert episode["support_inputs"].shape == (2, 10, 2)
    assert targets.shape == (2, 4, 3)
    ```
    """

    points: int
    queries: int
    input_shape: tuple[int, ...] = (2,)
    width: int = 1

    def __post_init__(self) -> None:
        for field in ("points", "queries", "width"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"RegressionSpec.{field} must be at least 1; received {getattr(self, field)}."
                )
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(
                "RegressionSpec.input_shape must be a tuple of positive sizes; received "
                f"{self.input_shape}."
            )

    def random_episode(
        self, seed: int = 0, meta_batch: int = 1
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws tasks that can be learnt: each is a wave of its own over the inputs.

        Args:
            seed: int. The same seed gives the same tasks.
            meta_batch: int. Tasks to draw.

        Returns:
            The episode dict and the queries' targets.
        """
        rng = np.random.default_rng(seed)
        size, total = int(np.prod(self.input_shape)), self.points + self.queries
        inputs = rng.uniform(0.0, 1.0, (meta_batch, total, size))
        slopes = rng.normal(0.0, 3.0, (meta_batch, size, self.width))
        phases = rng.uniform(0.0, 2.0 * np.pi, (meta_batch, 1, self.width))
        targets = (0.5 + 0.5 * np.sin(inputs @ slopes + phases)).astype("float32")
        inputs = inputs.reshape(meta_batch, total, *self.input_shape).astype("float32")
        episode = {
            SUPPORT_INPUTS: inputs[:, : self.points],
            SUPPORT_TARGETS: targets[:, : self.points],
            QUERY_INPUTS: inputs[:, self.points :],
        }
        return episode, targets[:, self.points :]
