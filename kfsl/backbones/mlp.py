"""The multilayer perceptron of regression and reinforcement learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kfsl.backbones.backbone import Backbone


@keras.saving.register_keras_serializable(package="kfsl")
class MLP(Backbone):
    """Dense layers one after another.

    Layers are named `hidden1`, `hidden2` and so on, and `outputs`. Images are flattened. A
    context that belongs to the input (CAVIA's regression) counts among its numbers.

    Args:
        image_shape: tuple of ints. The shape of one input: `(2,)` for the coordinates of a
            pixel, or that of an image. Defaults to `(2,)`.
        hidden: sequence of ints. Units of the hidden layers. Defaults to five times 128.
        outputs: int or None. Units of a last, linear layer; None: the last hidden layer is the
            output. Defaults to None.
        activation: str or callable. Of the hidden layers. Defaults to `"relu"`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`, `trainable`.

    Input: float tensor `[n, *image_shape]`. Output: float tensor `[n, units of the last layer]`.

    Raises:
        ValueError: an `image_shape` with unknown sizes, or layers without units.

    Reference:
        [Zintgraf et al., 2019](https://arxiv.org/abs/1810.03642), section 5.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.mlp import MLP

    colours = MLP((2,), hidden=(128,) * 5, outputs=3)
    assert colours(np.zeros((10, 2), "float32")).shape == (10, 3)
    assert colours.count_params() == 66_819
    ```
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (2,),
        hidden: Sequence[int] = (128,) * 5,
        outputs: int | None = None,
        activation: Any = "relu",
        **kwargs: Any,
    ) -> None:
        units = [*hidden, *([] if outputs is None else [outputs])]
        if None in image_shape or math.prod(image_shape) < 1:
            raise ValueError(f"image_shape must have positive sizes; received {image_shape}")
        if not units or min(units) < 1:
            raise ValueError(
                f"Layers need positive units; received hidden={hidden}, outputs={outputs}"
            )
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        # === Layers and functional model ===
        # In double precision too: a context that belongs to the input is differentiated.
        x = inputs = layers.Input(tuple(image_shape), dtype=dtype.variable_dtype, name="images")
        if len(image_shape) > 1:
            x = layers.Flatten(dtype=dtype, name="flatten")(x)
        for number, width in enumerate(hidden, start=1):
            name = f"hidden{number}"
            x = layers.Dense(width, activation=activation, dtype=dtype, name=name)(x)
        if outputs is not None:
            x = layers.Dense(outputs, dtype=dtype, name="outputs")(x)
        super().__init__(inputs, x, image_shape, dtype, **kwargs)

        # === Config ===
        self.hidden = tuple(hidden)
        # Keras models have `outputs` already: their output tensors.
        self.output_units = outputs
        self.activation = keras.activations.get(activation)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "outputs": self.output_units,
            "activation": keras.activations.serialize(self.activation),
        }
