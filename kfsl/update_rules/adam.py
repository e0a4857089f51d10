"""Adam as a rule of the inner loop."""

from typing import Any

import tensorflow as tf

from kfsl.gradients import InnerLoss, Weights


class Adam:
    """Adam with bias correction; the same steps as `keras.optimizers.Adam`.

    The state is `[count, first moments..., second moments...]` and starts at zero with every
    task. The published Reptile code lets the moments persist from one task to the next.

    Args:
        rate: float or scalar tensor.
        beta_1: float. Decay of the first moments; 0 leaves the gradients as they are (Reptile).
        beta_2: float. Decay of the second moments.
        epsilon: float. Added to the root of the second moments, before they are corrected, as
            in Keras and TensorFlow; PyTorch adds it after.
        decay: float. Decoupled weight decay: each step also takes `rate * decay` of a weight
            away, as `keras.optimizers.AdamW`. Defaults to `0.0`.

    Raises:
        ValueError: for a decay outside `[0, 1)`.

    Reference:
        [Kingma and Ba, 2015](https://arxiv.org/abs/1412.6980), algorithm 1, with the order of
        computation of the end of section 2;
        [Nichol et al., 2018](https://arxiv.org/abs/1803.02999) for Adam inside Reptile;
        [Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101), algorithm 2, for decay.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.gradients import inner_loop
    from kfsl.update_rules.adam import Adam

    # The first step has the length of the rate, whatever the gradient.
    (weight,), _ = inner_loop(lambda w, step: 3.0 * w[0], [tf.constant(1.0)], Adam(0.1), 1)
    assert abs(float(weight) - 0.9) < 1e-5
    ```
    """

    def __init__(
        self,
        rate: float | Any,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        decay: float = 0.0,
    ) -> None:
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1); received {name}={beta}.")
        self.rate = rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        if not decay >= 0.0:
            raise ValueError(f"`decay` must not be negative; received decay={decay}.")
        self.epsilon = epsilon
        self.decay = decay

    def init(self, weights: Weights) -> list[Any]:
        return [tf.constant(0.0), *(tf.zeros_like(weight) for weight in [*weights, *weights])]

    def step(
        self, loss: InnerLoss, weights: Weights, state: list[Any]
    ) -> tuple[Weights, list[Any], Any]:
        value, gradients = loss.value_and_grad(weights)
        size = len(weights)
        count = state[0] + 1.0
        means = self._decayed(self.beta_1, state[1 : size + 1], gradients)
        squares = self._decayed(self.beta_2, state[size + 1 :], [tf.square(g) for g in gradients])
        rates = [self._corrected(count, weight.dtype) for weight in weights]
        kept = 1.0 - self.rate * self.decay if self.decay else 1.0
        moved = [
            kept * weight - rate * mean / (tf.sqrt(square) + self.epsilon)
            for weight, rate, mean, square in zip(weights, rates, means, squares, strict=True)
        ]
        return moved, [count, *means, *squares], value

    def _corrected(self, count: Any, dtype: Any) -> Any:
        """The rate with the bias corrections of both moments."""
        count = tf.cast(count, dtype)
        return self.rate * tf.sqrt(1.0 - self.beta_2**count) / (1.0 - self.beta_1**count)

    @staticmethod
    def _decayed(beta: float, moments: list[Any], values: list[Any]) -> list[Any]:
        return [m + (v - m) * (1.0 - beta) for m, v in zip(moments, values, strict=True)]
