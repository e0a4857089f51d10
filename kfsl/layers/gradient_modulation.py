"""The cell of ModGrad: from a context to a factor for each entry of a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable(package="kfsl")
class GradientModulation(keras.layers.Layer):
    """Non-negative factors for the gradient of one weight, generated from a context vector.

    A kernel `[*window, in, out]` is seen as a matrix of `n1 = out * (first half of the window)`
    by `n2 = in * (rest of the window)` entries: `[out, in]` for a dense kernel,
    `[out * k, in * k]` for a `k x k` convolution, `[out * height, in * width]` where its window
    is not square and `[out * width, in]` in one dimension. Two sister networks give a mixed
    column each, `p` of size `n1` and `q` of size `n2`, and the factors are the entries of
    `relu(p q')`, read row by row as `[out, in, *window]`. Whatever the number of columns, `p q'`
    has rank 1 and `relu(p q')` at most rank 2.

    A vector (a bias) has one network, and the factors are `relu(p)`.

    A sister network is `Dense(n_i, "relu")` and `Dense(u + u * n_i)`: `u` scores, then `u`
    columns, which the softmax of the scores mixes. With one column the scores have no effect.

    Args:
        weight_shape: sequence of ints. Shape of the weight, in Keras's order.
        columns: int. Columns `u` that a sister network mixes. Defaults to `5`.
        initial_factor: float. What the biases of the columns add to the factors at first: with
            `1.0` they begin near one. Defaults to `0.0`, and factors of about `1e-4`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: contexts `[n, d]`. Output: factors `[n, *weight_shape]`, none negative.

    Raises:
        ValueError: A weight without axes, or fewer columns than one.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, equations 6 to 8.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.gradient_modulation import GradientModulation

    factors = GradientModulation((3, 3, 8, 16))(np.zeros((1, 300), "float32"))
    assert factors.shape == (1, 3, 3, 8, 16) and np.all(factors >= 0)
    ```
    """

    def __init__(
        self,
        weight_shape: Sequence[int],
        columns: int = 5,
        initial_factor: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not weight_shape or min(weight_shape) < 1:
            raise ValueError(
                "weight_shape must have an axis, and no empty one; "
                f"received weight_shape={tuple(weight_shape)}"
            )
        if columns < 1:
            raise ValueError(f"columns must be at least 1; received columns={columns}")
        if initial_factor < 0:
            raise ValueError(f"Factors are not negative; received initial_factor={initial_factor}")
        self.weight_shape = tuple(weight_shape)
        self.columns = columns
        self.initial_factor = initial_factor

        # === Layers ===
        self.sizes = _matrix_sizes(self.weight_shape)
        self.hidden = []
        self.outputs = []
        for sister, size in enumerate(self.sizes, start=1):
            self.hidden.append(self._dense(f"phi{sister}_hidden", size, "relu"))
            self.outputs.append(self._dense(f"phi{sister}_columns", columns * (1 + size)))

    def _dense(self, name: str, units: int, activation: str | None = None) -> layers.Dense:
        # The bias's initialiser needs the size of the input, known in `build`.
        return layers.Dense(
            units,
            activation,
            kernel_initializer=_uniform_kernel(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, context_shape: tuple) -> None:
        # A factor is a product of as many entries as there are sister networks.
        initial_entry = self.initial_factor ** (1 / len(self.sizes))
        for hidden, output, size in zip(self.hidden, self.outputs, self.sizes, strict=True):
            for layer, fan_in in ((hidden, context_shape[-1]), (output, size)):
                bound = fan_in**-0.5
                layer.bias_initializer = initializers.RandomUniform(-bound, bound)
                layer.build((None, fan_in))
            columns = ops.arange(self.columns * (1 + size)) >= self.columns
            output.bias.assign_add(initial_entry * ops.cast(columns, output.bias.dtype))

    def call(self, context: Any) -> Any:
        mixed = [self.mixed_column(context, sister) for sister in range(len(self.sizes))]
        if len(mixed) == 1:
            return ops.relu(mixed[0])
        outer = ops.einsum("ni,nj->nij", *mixed)  # Equation 8.
        *window, inputs, outputs = self.weight_shape
        factors = ops.reshape(outer, (-1, outputs, inputs, *window))
        axes = (0, *range(3, 3 + len(window)), 2, 1)
        return ops.relu(ops.transpose(factors, axes))

    def mixed_column(self, context: Any, sister: int) -> Any:
        """The column `h softmax(omega)` of one sister network, equations 6 and 7.

        Args:
            context: tensor, `[n, d]`.
            sister: int. 0, or 1 where there are two.

        Returns:
            Tensor, `[n, n_i]`.
        """
        output = self.outputs[sister](self.hidden[sister](context))
        scores, columns = output[:, : self.columns], output[:, self.columns :]
        columns = ops.reshape(columns, (-1, self.columns, self.sizes[sister]))
        return ops.einsum("nu,nui->ni", _softmax(scores), columns)

    def compute_output_shape(self, context_shape: tuple) -> tuple:
        return (context_shape[0], *self.weight_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_shape": self.weight_shape,
            "columns": self.columns,
            "initial_factor": self.initial_factor,
        }


def _uniform_kernel() -> initializers.Initializer:
    """Uniform within `1 / sqrt(fan_in)`, PyTorch's default for dense layers."""
    return initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


def _matrix_sizes(weight_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(weight_shape) == 1:
        return weight_shape
    *window, inputs, outputs = weight_shape
    half = (len(window) + 1) // 2
    return outputs * math.prod(window[:half]), inputs * math.prod(window[half:])


def _softmax(scores: Any) -> Any:
    # ops.softmax warns of an axis of size 1, which a single column rightly has.
    weights = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    return weights / ops.sum(weights, axis=-1, keepdims=True)
