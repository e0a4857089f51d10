"""Gradient descent with fixed rates."""

from collections.abc import Sequence
from typing import Any

from kfsl.gradients import InnerLoss, Weights


class SGD:
    """`w <- w - rate * gradient`.

    Args:
        rates: float or tensor, one rate for all weights; or a sequence of them, one for each
            weight: scalars, or tensors of the weight's shape (learned rates, Meta-SGD).

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), equation 1;
        [Li et al., 2017](https://arxiv.org/abs/1707.09835), equation 2.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.gradients import inner_loop
    from kfsl.update_rules.sgd import SGD

    (weight,), _ = inner_loop(lambda w, step: 3.0 * w[0], [tf.constant(1.0)], SGD([0.1]), 1)
    assert abs(float(weight) - 0.7) < 1e-6
    ```
    """

    def __init__(self, rates: float | Any | Sequence[Any]) -> None:
        self.rates = rates

    def init(self, weights: Weights) -> list[Any]:
        del weights
        return []

    def step(
        self, loss: InnerLoss, weights: Weights, state: list[Any]
    ) -> tuple[Weights, list[Any], Any]:
        rates = self.rates
        if not isinstance(rates, (list, tuple)):
            rates = [rates] * len(weights)
        value, gradients = loss.value_and_grad(weights)
        moved = [w - r * g for w, r, g in zip(weights, rates, gradients, strict=True)]
        return moved, state, value
