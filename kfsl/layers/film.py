"""Feature-wise linear modulation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class FiLM(keras.layers.Layer):
    """Multiplies each channel by a factor and adds an offset, both of which are inputs.

    `gamma * x + beta`, as in CAVIA; with `around_one` `(1 + gamma) * x + beta`, as in MMAML; with
    `learned_scales` as well, `(1 + gamma0 * gamma) * x + beta0 * beta`, as in Cross-Modulation
    Networks, where `gamma0` and `beta0` are weights of the layer.

    Args:
        around_one: bool. Whether `gamma` is the difference of the factor from 1. Defaults to
            False.
        learned_scales: bool. Whether `gamma` and `beta` are first multiplied by weights, `[C]`
            each, that start at 1. Defaults to False.
        scale_regularizer: str, `keras.Regularizer` or None. Of those weights. Defaults to None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: `x`, float tensor `[n, ..., C]`; `gamma` and `beta`, float tensors `[C]`, `[1, C]` or
    `[n, C]`. There may be more leading axes than one, and those of `gamma` and `beta` and of `x`
    broadcast: maps `[1, S, h, w, C]` and factors `[Q, S, C]` give maps `[Q, S, h, w, C]`.
    Output: `x`, modulated.

    Raises:
        ValueError: factors or offsets of other channels, or of more axes than `x` has; or a
            `scale_regularizer` without `learned_scales`.

    Reference:
        [Perez et al., 2018](https://arxiv.org/abs/1709.07871), equation 2;
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273) for the learned scales.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.film import FiLM

    maps = np.ones((2, 7, 7, 3), "float32")
    gamma, beta = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 0.0, 1.0]])
    assert np.all(FiLM()(maps, gamma, beta)[1, 0, 0] == [1.0, 2.0, 4.0])
    assert np.all(FiLM(around_one=True)(maps, gamma, beta)[1, 0, 0] == [2.0, 3.0, 5.0])
    ```
    """

    def __init__(
        self,
        around_one: bool = False,
        learned_scales: bool = False,
        scale_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if scale_regularizer is not None and not learned_scales:
            raise ValueError(
                "There is nothing for scale_regularizer to act on; received "
                f"scale_regularizer={scale_regularizer!r}, learned_scales=False"
            )
        self.around_one = bool(around_one)
        self.learned_scales = bool(learned_scales)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)

    def build(self, x_shape: Any, gamma_shape: Any, beta_shape: Any) -> None:
        channels = x_shape[-1]
        for name, shape in (("gamma", gamma_shape), ("beta", beta_shape)):
            if not 1 <= len(shape) <= len(x_shape) or shape[-1] != channels:
                raise ValueError(
                    f"{name} must have shape [C], [1, C] or [n, C], or the inputs' leading axes "
                    f"and C, which is {channels} for inputs {tuple(x_shape)}; received "
                    f"{tuple(shape)}"
                )
        if self.learned_scales:
            self.gamma_scale, self.beta_scale = (
                self.add_weight((channels,), "ones", name=name, regularizer=self.scale_regularizer)
                for name in ("gamma_scale", "beta_scale")
            )

    def call(self, x: Any, gamma: Any, beta: Any) -> Any:
        if self.learned_scales:
            gamma, beta = gamma * self.gamma_scale, beta * self.beta_scale
        if self.around_one:
            gamma = 1.0 + gamma
        return x * _at_locations(gamma, x) + _at_locations(beta, x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "around_one": self.around_one,
            "learned_scales": self.learned_scales,
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
        }


def _at_locations(values: Any, maps: Any) -> Any:
    """[n, C] -> [n, 1, ..., 1, C]; [C] broadcasts as it is."""
    lead = len(values.shape) - 1
    if lead == 0:
        return values
    return ops.expand_dims(values, tuple(range(lead, len(maps.shape) - 1)))
