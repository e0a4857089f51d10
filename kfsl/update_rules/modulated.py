"""Gradient descent with gradients that a generator modulates, task by task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kfsl.gradients import InnerLoss, Weights, value_and_grad

#: context `[d]` -> factors, a list of tensors of the weights' shapes.
Modulation = Callable[[Any], Weights]

FORMS = ("paper", "code")


class Modulated:
    """`w <- w - rate * M(v) * gradient`, where the context `v` looks ahead.

    A step takes the gradient `g` once. From the context 0 it moves provisionally, to
    `w - rate * M(0) * g`; the negative gradient of the loss there, for the context, is the
    context `v`; then it moves from `w` by `M(v)` and the same `g`. A task's loss is evaluated
    and differentiated twice a step.

    Clipping, noise and `first_order` concern `g` alone: noise enters before the modulation, one
    draw serves both moves, and the context's own gradient always keeps its graph.

    Args:
        modulation: function from a context, `[d]`, to a factor for each entry of each weight.
        rate: float. The inner rate alpha.
        context_size: int. Size `d` of the context.
        form: str. `"paper"`: each step starts from the weights the last one reached, with its
            own `g` and the context 0 (algorithm 1). `"code"`: as the authors' program, each step
            refines the context twice, from the one before it, and always moves from the weights
            and with the `g` before the first step. One step is the same in both.

    Raises:
        ValueError: for a form it does not know.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, algorithm 1 and
        equation 9.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.gradients import inner_loop
    from kfsl.update_rules.modulated import Modulated

    # Loss 3w: g = 3, v = -d(3 (1 - 0.1 (2 + v) 3))/dv = 0.9.
    rule = Modulated(lambda v: [2.0 + v], rate=0.1, context_size=1)
    (weight,), _ = inner_loop(lambda w, step: 3.0 * w[0][0], [tf.constant([1.0])], rule, 1)
    assert abs(float(weight[0]) - (1 - 0.1 * 2.9 * 3)) < 1e-6
    ```
    """

    def __init__(
        self, modulation: Modulation, rate: float, context_size: int, form: str = "paper"
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"`form` must be one of {FORMS}; received {form!r}.")
        self.modulation = modulation
        self.rate = rate
        self.context_size = context_size
        self.form = form

    def init(self, weights: Weights) -> list[Any]:
        """The authors' form remembers the first weights, the context, and the last loss."""
        if self.form == "paper":
            return []
        return [*weights, self._no_context(weights), tf.zeros((), weights[0].dtype)]

    def step(
        self, loss: InnerLoss, weights: Weights, state: list[Any]
    ) -> tuple[Weights, list[Any], Any]:
        if self.form == "code":
            return self._refining_step(loss, state)
        value, gradients = loss.value_and_grad(weights)
        none = self._no_context(weights)
        context, _ = self.refined(loss, weights, gradients, none)
        return self.moved(weights, gradients, context), state, value

    def _refining_step(self, loss: InnerLoss, state: list[Any]) -> tuple[Weights, list[Any], Any]:
        *start, context, last = state
        first = dataclasses.replace(loss, step=0)  # Its mini-batch and its noise too.
        value, gradients = first.value_and_grad(start)
        context, _ = self.refined(loss, start, gradients, context)
        # What the next step begins with; of no use, and not computed, after the last.
        following, after = self.refined(loss, start, gradients, context)
        before = tf.where(tf.equal(loss.step, 0), tf.cast(value, last.dtype), last)
        state = [*start, following, tf.cast(after, last.dtype)]
        return self.moved(start, gradients, context), state, before

    def refined(
        self, loss: InnerLoss, weights: Weights, gradients: Weights, context: Any
    ) -> tuple[Any, Any]:
        """The next context, equation 9, and the loss at the provisional weights.

        Args:
            loss: `InnerLoss`.
            weights: list of tensors, from which to move.
            gradients: list of tensors, the gradients to modulate.
            context: tensor, `[d]`.

        Returns:
            Tensor `[d]`, and a scalar.
        """

        def provisional(contexts: Weights) -> Any:
            return loss(self.moved(weights, gradients, contexts[0]))

        value, (gradient,) = value_and_grad(provisional, [context])
        return -gradient, value

    def moved(self, weights: Weights, gradients: Weights, context: Any) -> Weights:
        """The weights after a move with the modulation of a context.

        Args:
            weights: list of tensors.
            gradients: list of tensors.
            context: tensor, `[d]`.

        Returns:
            List of tensors.
        """
        factors = self.modulation(context)
        return [
            w - self.rate * factor * g
            for w, factor, g in zip(weights, factors, gradients, strict=True)
        ]

    def _no_context(self, weights: Weights) -> Any:
        return tf.zeros((self.context_size,), weights[0].dtype)
