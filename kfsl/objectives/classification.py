"""One of an episode's classes for each query."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kfsl.argument_checks import is_whole, told
from kfsl.episodes import EpisodeSpec
from kfsl.metrics.episode_accuracy import EpisodeAccuracy
from kfsl.objectives.objective import Objective, readable
from kfsl.runs.measure import ACCURACY

#: Logit of a class that an episode does not have; finite, so that 0 * logit stays 0.
ABSENT = -1e9

#: In a state: support images of each class, so that absent classes get no probability.
COUNTS = "support_counts"


@keras.saving.register_keras_serializable(package="kfsl")
class Classification(Objective):
    """Cross-entropy over the classes that an episode has; accuracy over episodes.

    Args:
        ways: int or None. Classes per episode; None reads it from the labels.

    Raises:
        ValueError: for fewer than 2 ways.

    Example:
    ```python
    import numpy as np
    from kfsl.objectives import Classification

    objective = Classification(ways=3)
    logits = np.zeros((1, 2, 3), "float32")
    assert abs(float(objective.loss(np.array([[0, 2]]), logits)) - np.log(3)) < 1e-6
    # A class without support image is impossible.
    state = objective.support_state(np.array([[0, 2, 2]]))
    assert abs(float(objective.loss(np.array([[0, 2]]), logits, state=state)) - np.log(2)) < 1e-6
    ```
    """

    output = "logits"
    measure = ACCURACY

    def __init__(self, ways: int | None = None) -> None:
        if ways is not None and not (is_whole(ways) and ways >= 2):
            raise ValueError(
                f"`ways` must be a whole number of at least 2, or None; received ways={told(ways)}."
            )
        self.ways = ways

    @property
    def width(self) -> int | None:
        return self.ways

    def check_targets(self, targets: Any) -> None:
        values = readable(targets)
        # Whole numbers may come as floats: Keras makes floats of arrays.
        if len(targets.shape) != 2 or (values is not None and np.any(values % 1)):
            dtype = keras.backend.standardize_dtype(targets.dtype)
            raise ValueError(
                "Labels must be whole numbers, one for each image: int32 [B, n]; received "
                f"{dtype} of shape {tuple(targets.shape)}. For targets that are numbers give the "
                "learner objective=kfsl.objectives.Regression(width)."
            )
        if values is None or not values.size:
            return
        # Free in ways, a learner makes as many columns as the largest label says.
        limit = values.shape[1] if self.ways is None else self.ways
        if values.min() < 0 or values.max() >= limit:
            what = "support images" if self.ways is None else "ways"
            raise ValueError(
                f"Support labels go from 0 to {limit - 1}, since there are {limit} {what}; "
                f"received labels from {int(values.min())} to {int(values.max())}. Number the "
                "classes of an episode from 0 on."
            )

    def ways_of(self, labels: Any) -> Any:
        """Classes per episode: the argument, or one more than the largest label."""
        return ops.max(labels) + 1 if self.ways is None else self.ways

    def one_hot(self, labels: Any, mask: Any = None) -> Any:
        """Labels as float32 one-hot rows, `[..., n, ways]`; padding rows are zero.

        Args:
            labels: int tensor, `[..., n]`.
            mask: optional bool tensor, `[..., n]`; `False` marks padding.

        Returns:
            float32 tensor, `[..., n, ways]`.
        """
        classes = ops.arange(self.ways_of(labels), dtype="int32")
        one_hot = ops.cast(ops.equal(ops.cast(labels, "int32")[..., None], classes), "float32")
        return one_hot if mask is None else one_hot * ops.cast(mask, "float32")[..., None]

    def support_state(self, targets: Any, mask: Any = None) -> dict[str, Any]:
        return {COUNTS: ops.sum(self.one_hot(targets, mask), axis=-2)}

    def losses(self, targets: Any, outputs: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(
            ops.cast(targets, "int32"), outputs, from_logits=True
        )

    def possible(self, outputs: Any, state: dict[str, Any]) -> Any:
        return mask_absent(outputs, state[COUNTS]) if COUNTS in state else outputs

    def prediction(self, outputs: Any) -> Any:
        return ops.softmax(ops.cast(outputs, "float32"), axis=-1)

    def served(self, outputs: Any) -> dict[str, Any]:
        return {"logits": ops.cast(outputs, "float32"), **super().served(outputs)}

    @property
    def target_shape(self) -> tuple[int, ...]:
        return ()

    def random_episode(
        self,
        input_shape: Sequence[int],
        *,
        ways: int | None = None,
        shots: int = 1,
        queries: int = 2,
        seed: int = 0,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        spec = EpisodeSpec(ways or self.ways or 3, shots, queries, tuple(input_shape))
        return spec.random_episode(seed)

    def metric(self, dtype: str | None = None) -> keras.metrics.Metric:
        return EpisodeAccuracy(dtype=dtype)

    def scores(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return np.mean(np.argmax(outputs, axis=-1) == targets, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {"ways": self.ways}


def mask_absent(logits: Any, support_counts: Any) -> Any:
    """Logits with the classes that have no support image made impossible.

    Args:
        logits: float tensor, `[..., Q, ways]`.
        support_counts: float tensor, `[..., ways]`. Support images of each class.

    Returns:
        Tensor, `[..., Q, ways]`.
    """
    return ops.where(support_counts[..., None, :] > 0, logits, ABSENT)
