"""What a learner is asked for, and how its answers are judged."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kfsl.episodes import QUERY_IMAGES, SUPPORT_IMAGES, SUPPORT_LABELS
from kfsl.runs.measure import Measure, make_known


class Objective:
    """The task's side of a learner: targets, loss, metric, and what of the outputs is possible.

    A learner adapts and infers; its objective knows what targets look like and what an error
    costs. Subclasses are registered with Keras, so that they are saved with their learner.
    """

    #: Keys of an episode: what the learner sees, and what it is told of the support set.
    support_inputs: str = SUPPORT_IMAGES
    support_targets: str = SUPPORT_LABELS
    query_inputs: str = QUERY_IMAGES
    #: Name of the learner's output that the targets belong to.
    output: str = "logits"
    #: What a served model calls its answer, and what is embedded.
    answer: str = "probabilities"
    embedded: str = "images"
    #: What inputs and targets are made of, and the shape of one target.
    input_dtype: str = "uint8"
    target_dtype: str = "int32"
    #: Whether an answer is one of an episode's classes.
    has_classes: bool = True
    #: What each episode is measured by; it decides which weights are best.
    measure: Measure

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "measure" in vars(cls):
            make_known(cls.measure)

    @property
    def reported(self) -> tuple[str, str]:
        """The metric's results, as logs name them: the measure, and half of its interval."""
        return self.measure.name, f"{self.measure.name}_interval"

    @property
    def width(self) -> int | None:
        """Columns of the outputs; None where each episode has a number of its own."""
        raise NotImplementedError

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of one target."""
        raise NotImplementedError

    def random_episode(
        self,
        input_shape: Sequence[int],
        *,
        ways: int | None = None,
        shots: int = 1,
        queries: int = 2,
        seed: int = 0,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A task of this kind to try a learner on.

        Args:
            input_shape: sequence of ints. The shape of one input.
            ways: int or None. Classes, where there are any; None: `width`, or 3.
            shots: int. Given inputs of each class, or of the task.
            queries: int. Asked ones, as many.
            seed: int.

        Returns:
            The episode, with `B = 1`, and the queries' targets.
        """
        raise NotImplementedError

    @property
    def monitor(self) -> str:
        """Key of the logs that decides which weights are best."""
        return f"val_{self.measure.name}"

    def check_targets(self, targets: Any) -> None:
        """Refuses targets of another kind, as far as shapes and dtypes tell.

        Args:
            targets: tensor, `[B, n, ...]`.

        Raises:
            ValueError: saying what was received and what is expected.
        """

    def head(self, dtype: Any, kernel_initializer: Any) -> Callable[[Any], Any] | None:
        """What stands on a backbone instead of a dense layer of `width` columns.

        Args:
            dtype: dtype policy of its layers.
            kernel_initializer: str or `keras.Initializer`.

        Returns:
            Callable from features to outputs, Keras tensors; None for a dense layer.
        """
        del dtype, kernel_initializer
        return None

    def support_state(self, targets: Any, mask: Any = None) -> dict[str, Any]:
        """What `possible` has to know of the support set's targets, as part of a state.

        Args:
            targets: tensor, `[..., S, ...]`.
            mask: optional bool tensor, `[..., S]`; `False` marks padding.

        Returns:
            Flat dict of tensors without the axis `S`; empty where everything is possible.
        """
        del targets, mask
        return {}

    def losses(self, targets: Any, outputs: Any) -> Any:
        """The loss of each answer, `[..., n]`, at least float32."""
        raise NotImplementedError

    def loss(
        self, targets: Any, outputs: Any, mask: Any = None, state: dict[str, Any] | None = None
    ) -> Any:
        """Mean loss of the answers that `mask` leaves.

        Args:
            targets: tensor, `[..., n]` or `[..., n, width]`.
            outputs: float tensor, `[..., n, width]`.
            mask: optional bool tensor, `[..., n]`; `False` marks padding.
            state: optional dict with what `support_state` gave.

        Returns:
            Scalar, at least float32.
        """
        outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
        losses = self.losses(targets, self.possible(outputs, state or {}))
        if mask is None:
            return ops.mean(losses)
        weights = ops.cast(mask, losses.dtype)
        return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1.0)

    def possible(self, outputs: Any, state: dict[str, Any]) -> Any:
        """The outputs, with what the episode rules out made impossible."""
        del state
        return outputs

    def prediction(self, outputs: Any) -> Any:
        """What a person wants to be told: probabilities, or the numbers themselves."""
        return ops.cast(outputs, "float32")

    def served(self, outputs: Any) -> dict[str, Any]:
        """What a served model tells of its outputs: among others its `answer`."""
        return {self.answer: self.prediction(outputs)}

    def metric(self, dtype: str | None = None) -> keras.metrics.Metric:
        """A new metric over episodes, whose results are `reported`.

        Args:
            dtype: str or None. What it measures in; None is single precision.
        """
        raise NotImplementedError

    def scores(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The `measure` of each episode, `[B]`, in double precision.

        Args:
            targets: array, `[B, Q, ...]`.
            outputs: array, `[B, Q, width]`.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Objective":
        return cls(**config)


def readable(tensor: Any) -> np.ndarray | None:
    """The numbers of a tensor, or None where it has none: while a graph is traced."""
    if isinstance(tensor, np.ndarray):
        return tensor
    return tensor.numpy() if hasattr(tensor, "numpy") else None
