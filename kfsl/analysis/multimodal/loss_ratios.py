"""What an update for one task does to the loss of another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.learners.base.learner import Learner

#: An episode and its query labels, with `B = 1`.
Task = tuple[dict[str, Any], Any]


class LossRatios:
    """Losses of target tasks after an update for a source task, over those before it.

    A learner at weights `w` takes a step of plain gradient descent for the source task,
    `w_i = w - rate * dL_i(Q_i; w, S_i) / dw`, as in training; the ratio is
    `L_j(Q_j; w_i, S_j) / L_j(Q_j; w, S_j)`, as at test. Below 1 the source task helps the target
    task, above 1 it hurts. Whatever the learner holds is afterwards as it was: weights, moving
    averages, states of random numbers and optimisers.

    Args:
        learner: `Learner`.
        rate: float. Of the step.

    Raises:
        ValueError: for a negative rate.

    Reference:
        Abdollahzadeh et al., "Revisit Multimodal Meta-Learning through the Lens of Multi-Task
        Learning" (NeurIPS 2021): transference.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.analysis.multimodal.loss_ratios import LossRatios
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    tasks = [EpisodeSpec(2, 1, 3, (8, 8, 1)).random_episode(seed=seed) for seed in range(3)]
    assert LossRatios(learner, rate=0.0).of(tasks[:2], tasks[2:]).tolist() == [[1.0], [1.0]]
    ```
    """

    def __init__(self, learner: Learner, rate: float = 1e-3) -> None:
        if not rate >= 0.0:
            raise ValueError(f"`rate` must be at least 0; received rate={rate}.")
        self.learner = learner
        self.rate = rate
        self._plain = keras.optimizers.SGD(rate)
        self._gradients = tf.function(self._traced_gradients, reduce_retracing=True)
        self._loss = tf.function(self._traced_loss, reduce_retracing=True)

    def of(self, sources: Iterable[Task], targets: Sequence[Task]) -> np.ndarray:
        """The ratios of all pairs.

        Args:
            sources: iterable of episodes and query labels, `B = 1`.
            targets: sequence of the same.

        Returns:
            float64 array, `[sources, targets]`.

        Raises:
            ValueError: if a target's loss is 0, so that nothing can be divided by it, or a loss is
                not finite.
        """
        before = self.losses(targets)
        if not np.all(before > 0.0):
            number = int(np.argmin(before > 0.0))
            raise ValueError(
                f"The loss of target task {number} is {before[number]}, so there is no ratio to "
                "it. Take other target tasks, by --index say."
            )
        rows = [self.losses(targets, source) for source in sources]
        ratios = np.array(rows).reshape(-1, len(targets)) / before
        if not np.isfinite(ratios).all():
            raise ValueError(
                f"After a step of rate {self.rate:g} a loss is no longer finite; take a smaller "
                "rate."
            )
        return ratios

    def losses(self, targets: Sequence[Task], source: Task | None = None) -> np.ndarray:
        """The targets' losses, after a step for the source task if there is one.

        Args:
            targets: sequence of episodes and query labels, `B = 1`.
            source: episode and query labels, `B = 1`, or None.

        Returns:
            float64 array, `[targets]`.
        """
        with self._unchanged():
            if source is not None:
                self._step(source)
            return np.array([float(self._loss(*target)) for target in targets])

    def _step(self, source: Task) -> None:
        # Weights alone move: averages stay what they were.
        with self._unchanged():
            found = self._gradients(*source)
        for weight, gradient in zip(self.learner.trainable_weights, found, strict=True):
            weight.assign(weight - self.rate * keras.ops.cast(gradient, weight.dtype))

    def _traced_gradients(self, episode: dict[str, Any], query_labels: Any) -> list[Any]:
        _, _, found = self.learner.loss_and_gradients(episode, query_labels)
        weights = self.learner.trainable_weights
        return [
            tf.zeros(weight.shape, weight.dtype) if gradient is None else gradient + 0.0
            for gradient, weight in zip(found, weights, strict=True)
        ]

    def _traced_loss(self, episode: dict[str, Any], query_labels: Any) -> Any:
        outputs = self.learner(episode, training=False)
        objective = self.learner.objective
        return objective.loss(query_labels, outputs[objective.output])

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Gives every variable back the value it has now, and the learner its optimiser."""
        learner = self.learner
        optimizer = getattr(learner, "optimizer", None)
        values = [(variable, variable.numpy()) for variable in learner.variables]
        # In place of the learner's own, which may scale the loss.
        learner.optimizer = self._plain
        try:
            yield
        finally:
            learner.optimizer = optimizer
            for variable, value in values:
                variable.assign(value)
