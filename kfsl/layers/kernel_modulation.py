"""Factors of a layer's kernel, from a vector that describes the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

FORMS = ("factorised", "full")


@keras.saving.register_keras_serializable(package="kfsl")
class KernelModulation(keras.layers.Layer):
    """Kernel modulation (KML): `W * (1 + M)` and `b + d`, where `M` and `d` depend on the task.

    `"full"`: a dense layer gives each entry of `M`. `"factorised"`: two dense layers give `g1`
    and `g2`, and `M` is their outer product, which takes about a hundredth of the numbers. `g1`
    has an entry for each output channel and row of the kernel, `g2` for each input channel and
    column: `M[y, x, i, o] = g1[o, y] g2[i, x]`; or `g1` has one for each output channel alone and
    `g2` the others, where that is fewer, as for images of three channels. A factor for each output
    channel alone would be FiLM, which a batch normalisation behind the layer takes back.

    Args:
        kernel_shape: sequence of int. `[y, x, in, out]` of a convolution, `[x, in, out]` of one
            in a line, `[in, out]` of a dense layer.
        use_bias: bool. Whether the layer has a bias to modulate. Defaults to True.
        form: str. `"factorised"` or `"full"`. Defaults to `"factorised"`.
        residual: bool. False: `W * M`, as the authors' program has it. Defaults to True.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: a vector `[D]`. Output: the factors of the kernel, of its shape, and the offsets of the
    bias, `[out]`, or None without bias.

    Raises:
        ValueError: for another form, or a kernel of neither kind.

    Reference:
        [Abdollahzadeh et al., 2021](https://arxiv.org/abs/2110.14202). Which entries the two
        factors stand for is not in the paper; its program reshapes the product row by row.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.kernel_modulation import KernelModulation

    modulation = KernelModulation((3, 3, 32, 64))
    factors, offsets = modulation(np.ones(128, "float32"))
    assert factors.shape == (3, 3, 32, 64) and offsets.shape == (64,)
    assert modulation.count_params() == (192 + 96 + 64) * (128 + 1)
    ```
    """

    def __init__(
        self,
        kernel_shape: Sequence[int],
        use_bias: bool = True,
        form: str = "factorised",
        residual: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}; received form={form!r}")
        if len(kernel_shape) not in (2, 3, 4):
            raise ValueError(
                "A kernel is [y, x, in, out], [x, in, out] or [in, out]; received "
                f"kernel_shape={tuple(kernel_shape)}"
            )
        self.kernel_shape = tuple(int(size) for size in kernel_shape)
        self.use_bias = use_bias
        self.form = form
        self.residual = residual
        self.heads = [self._head(size, i) for i, size in enumerate(self.sizes)]

    def _head(self, size: int, number: int) -> keras.layers.Dense:
        return keras.layers.Dense(
            size,
            # Uniform within sqrt(1 / inputs) of zero, PyTorch's default; PyTorch draws biases so
            # too, here they begin at 0.
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            dtype=self.dtype_policy,
            name=f"head{number + 1}",
        )

    @property
    def rows_with_outputs(self) -> bool:
        """Whether `g1` has the kernel's rows; else `g2` has them."""
        y, x, inputs, outputs = self._four
        return outputs * y + inputs * x < outputs + inputs * x * y

    @property
    def _four(self) -> tuple[int, ...]:
        return (1,) * (4 - len(self.kernel_shape)) + self.kernel_shape

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each dense layer gives: of factors, then of offsets."""
        y, x, inputs, outputs = self._four
        if self.form == "full":
            factors = (y * x * inputs * outputs,)
        elif self.rows_with_outputs:
            factors = (outputs * y, inputs * x)
        else:
            factors = (outputs, inputs * y * x)
        return (*factors, outputs) if self.use_bias else factors

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for head in self.heads:
            head.build((1, input_shape[-1]))

    def call(self, embedding: Any) -> tuple[Any, Any]:
        given = [head(embedding[None])[0] for head in self.heads]
        offsets = given.pop() if self.use_bias else None
        return self.factors_of(*given), offsets

    def factors_of(self, *given: Any) -> Any:
        """`1 + M`, of the kernel's shape, from what the dense layers give.

        Args:
            *given: tensors. `M`, or `g1` and `g2`.
        """
        y, x, inputs, outputs = self._four
        if self.form == "full":
            change = ops.reshape(given[0], (y, x, inputs, outputs))
        elif self.rows_with_outputs:
            first = ops.reshape(given[0], (outputs, y))
            change = ops.einsum("oy,ix->yxio", first, ops.reshape(given[1], (inputs, x)))
        else:
            rest = ops.reshape(given[1], (inputs, y, x))
            change = ops.einsum("o,iyx->yxio", given[0], rest)
        change = ops.reshape(change, self.kernel_shape)
        return 1.0 + change if self.residual else change

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_shape": self.kernel_shape,
            "use_bias": self.use_bias,
            "form": self.form,
            "residual": self.residual,
        }
