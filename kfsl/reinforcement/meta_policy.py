"""The outer objective of meta-reinforcement learning, through the inner step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.reinforcement.experience import Experience

Task = dict[str, Any]


class MetaPolicy:
    """Surrogate and divergence of adapted policies, and their derivatives for all weights.

    A task's policy adapts to its first experience, by the learner's own inner loop, and is judged
    by the second, which it had gathered once it had adapted. Everything is exact: derivatives go
    through the inner step. Tasks are looked at one by one, so memory does not grow with them.

    Args:
        learner: `GradientLearner`, whose objective is `PolicyGradient`.
    """

    def __init__(self, learner: GradientLearner) -> None:
        self.learner = learner
        self.tasks: list[Task] = []
        self._functions = _functions(learner)

    def see(self, before: Experience, after: Experience) -> None:
        """Takes other tasks; experience of the same size is traced once.

        Args:
            before: `Experience`: what the policies adapt to.
            after: `Experience`: what they are judged by; its `outputs` are the policies that
                acted.
        """
        self.tasks = [_task(before, after, number) for number in range(before.tasks)]

    @property
    def point(self) -> np.ndarray:
        """All trainable weights in a row."""
        return np.concatenate([w.numpy().ravel() for w in self.learner.trainable_weights])

    @point.setter
    def point(self, values: np.ndarray) -> None:
        for weight, value in zip(self.learner.trainable_weights, self._split(values), strict=True):
            weight.assign(value)

    def surrogate(self) -> tuple[float, float]:
        """Mean over tasks of minus the surrogate advantage, and of the divergence."""
        found = [self._functions["surrogate"](task) for task in self.tasks]
        losses, divergences = (np.mean([float(each[i]) for each in found]) for i in (0, 1))
        return float(losses), float(divergences)

    def gradient(self) -> np.ndarray:
        """Of the surrogate loss, for `point`."""
        return self._mean(self._functions["gradient"])

    def fisher_product(self, vector: np.ndarray, damping: float = 0.0) -> np.ndarray:
        """The Hessian of the divergence times a vector, plus `damping` times the vector.

        Exact where the policies are those that acted, as they are before a step: there the
        divergence has no slope, and its Hessian is that of the distributions between the
        Jacobian of their numbers and its transpose.
        """
        parts = [tf.constant(part) for part in self._split(vector)]
        return self._mean(lambda task: self._functions["fisher_product"](task, parts)) + (
            damping * vector
        )

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        weights = self.learner.trainable_weights
        sizes = np.cumsum([int(np.prod(weight.shape)) for weight in weights])[:-1]
        parts = zip(np.split(values, sizes), weights, strict=True)
        return [part.reshape(weight.shape).astype(weight.dtype) for part, weight in parts]

    def _mean(self, function: Callable[[Task], list]) -> np.ndarray:
        total = 0.0
        for task in self.tasks:
            parts = [np.asarray(part, "float64").ravel() for part in function(task)]
            total = total + np.concatenate(parts)
        return total / len(self.tasks)


def _task(before: Experience, after: Experience, number: int) -> Task:
    # One task as a meta-batch of one: no loop over tasks in the graph.
    kept = slice(number, number + 1)
    arrays = {
        "support": before.observations[kept],
        "targets": before.weighted_targets[kept],
        "mask": before.mask[kept],
        "queries": after.observations[kept],
        "actions": after.targets[kept, :, :-1],
        "advantages": after.targets[kept, :, -1],
        "weights": after.weights[kept],
        "outputs": after.outputs[kept],
    }
    return {name: tf.constant(value) for name, value in arrays.items()}


def _functions(learner: GradientLearner) -> dict[str, Callable]:
    objective, weights = learner.objective, learner.trainable_weights

    def adapted(task: Task) -> Any:
        support = learner.embed(task["support"], training=True)
        state = learner.adapt(support, task["targets"], task["mask"], training=True)
        return learner.infer(state, task["queries"], training=True)[objective.output]

    def judged(task: Task) -> tuple[Any, Any]:
        outputs = adapted(task)
        counts = tf.cast(task["weights"], outputs.dtype)
        acted = tf.cast(task["outputs"], outputs.dtype)
        actions = tf.cast(task["actions"], outputs.dtype)
        gap = objective.log_density(actions, outputs) - objective.log_density(actions, acted)
        gains = tf.exp(gap) * tf.cast(task["advantages"], outputs.dtype)
        divergence = objective.divergence(outputs, acted)
        return -tf.reduce_sum(counts * gains), tf.reduce_sum(counts * divergence)

    variables = [weight.value for weight in weights]

    def gradient(task: Task) -> list[Any]:
        with tf.GradientTape() as tape:
            loss, _ = judged(task)
        return tape.gradient(loss, variables, unconnected_gradients="zero")

    def fisher_product(task: Task, vector: list[Any]) -> list[Any]:
        # Once forwards, with the change that the vector makes, and once backwards.
        forwards = tf.autodiff.ForwardAccumulator(variables, vector)
        with tf.GradientTape() as tape, forwards:
            outputs = adapted(task)
        change = forwards.jvp(outputs, unconnected_gradients="zero")
        counts = tf.cast(task["weights"], outputs.dtype)[..., None]
        curved = counts * objective.curvature(outputs, change)
        return tape.gradient(
            outputs, variables, output_gradients=curved, unconnected_gradients="zero"
        )

    functions = {"surrogate": judged, "gradient": gradient, "fisher_product": fisher_product}
    return {name: tf.function(function, autograph=False) for name, function in functions.items()}
