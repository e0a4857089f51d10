"""Factors and offsets of feature-wise linear modulation, from what conditions them."""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class FiLMGenerator(keras.layers.Layer):
    """A dense layer from one or two conditioning vectors to FiLM's factors and offsets.

    Two vectors count as one, joined: `gamma, beta = phi([x, other]) W + b`. The rows of `W`
    that belong to each are multiplied apart and then added, so vectors whose leading axes
    broadcast are not repeated: `S` rows and `Q` rows give the parameters of `Q * S` pairs for the
    products of `S + Q`. In Cross-Modulation Networks the first vector is of the modulated map
    itself, and its rows are the generator's self-modulation; the second's are its
    cross-modulation.

    Args:
        activation: str or callable. `phi`. Defaults to None: the identity.
        kernel_initializer: str or `keras.Initializer`. Of the whole `W`. Defaults to
            `"glorot_uniform"`.
        bias_initializer: str or `keras.Initializer`. Defaults to `"zeros"`.
        channels: int. Channels that are modulated. Defaults to None: as many as the first vector
            has.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: float tensor `[..., C]`, and perhaps another, `[..., C']`. Output: `gamma` and `beta`,
    `[..., channels]` each.

    Reference:
        [Perez et al., 2018](https://arxiv.org/abs/1709.07871), section 2.1;
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 1a, for pairs.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.film_generator import FiLMGenerator

    generator = FiLMGenerator(activation="relu")
    supports, queries = np.ones((1, 5, 64), "float32"), np.ones((15, 1, 64), "float32")
    gamma, beta = generator(supports, queries)
    assert gamma.shape == beta.shape == (15, 5, 64)
    assert generator.count_params() == 128 * 128 + 128
    ```
    """

    def __init__(
        self,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if channels is not None and channels < 1:
            raise ValueError(f"channels must be at least 1; received channels={channels}")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.channels = channels

    def build(self, condition_shape: Any, other_shape: Any = None) -> None:
        shapes = (condition_shape,) if other_shape is None else (condition_shape, other_shape)
        self.sizes = tuple(shape[-1] for shape in shapes)
        width = 2 * (self.channels or self.sizes[0])
        self.kernel = self.add_weight(
            (sum(self.sizes), width), self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight((width,), self.bias_initializer, name="bias")

    def call(self, condition: Any, other: Any = None) -> tuple[Any, Any]:
        conditions = (condition,) if other is None else (condition, other)
        outputs = self.bias
        for vectors, rows in zip(conditions, self.kernel_rows(), strict=True):
            outputs = outputs + ops.matmul(self.activation(vectors), rows)
        gamma, beta = ops.split(outputs, 2, axis=-1)
        return gamma, beta

    def kernel_rows(self) -> list[Any]:
        """The rows of `W` that belong to each vector, `[C, 2 * channels]`: self, then cross."""
        starts = [sum(self.sizes[:i]) for i in range(len(self.sizes) + 1)]
        return [self.kernel[start:stop] for start, stop in itertools.pairwise(starts)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "channels": self.channels,
        }
