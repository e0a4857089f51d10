"""The cross-modulation of one block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kfsl.layers.film import FiLM
from kfsl.layers.film_generator import FiLMGenerator


@keras.saving.register_keras_serializable(package="kfsl")
class CrossModulation(keras.layers.Layer):
    """Modulates the maps of one stream by what both streams of a pair contain.

    `(1 + gamma0 * gamma) * x + beta0 * beta`, where the generator makes `gamma` and `beta` from
    the averages of the modulated maps `x`, first, and of the other stream's. The same layer,
    called the other way round, modulates the other stream.

    A maximum over a window of `a x + b` is `a` times the largest or the smallest `x`, by the sign
    of `a`, plus `b`. So where max pooling follows, `pools`, it is done before the pairs are
    formed, and pairs have small maps; values and gradients are the same.

    Args:
        scale_regularizer: str, `keras.Regularizer` or None. Of `gamma0` and `beta0`. Defaults to
            None.
        noise: float. Standard deviation of a distortion, to see what the modulation is worth:
            `gamma0 * gamma` and `beta0 * beta` are multiplied by numbers drawn from N(1, noise)
            for each pair, stream and channel. Defaults to 0: nothing is drawn.
        noise_seed: int. Defaults to 0.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: `x`, float tensor `[B, Q or 1, S or 1, ..., C]`; `other`, likewise, and where one has
    1 the other may have more. Output: `[B, Q, S, ..., C]`, the locations those behind `pools`.

    Raises:
        ValueError: for negative noise.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), section 2 and figure 1.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.cross_modulation import CrossModulation

    supports = np.random.normal(size=(1, 1, 5, 7, 7, 64)).astype("float32")
    queries = np.random.normal(size=(1, 15, 1, 7, 7, 64)).astype("float32")
    modulation = CrossModulation()
    assert modulation(supports, queries).shape == (1, 15, 5, 7, 7, 64)
    assert modulation(queries, supports).shape == (1, 15, 5, 7, 7, 64)
    assert modulation.count_params() == 16_512 + 128
    ```
    """

    def __init__(
        self,
        scale_regularizer: Any = None,
        noise: float = 0.0,
        noise_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not noise >= 0:
            raise ValueError(f"noise must be at least 0; received noise={noise}")
        self.noise = float(noise)
        self.noise_seed = noise_seed

        # === Layers ===
        self.generator = FiLMGenerator("relu", dtype=self.dtype_policy, name="generator")
        self.film = FiLM(
            around_one=True,
            learned_scales=True,
            scale_regularizer=scale_regularizer,
            dtype=self.dtype_policy,
            name="film",
        )
        self.draws = keras.random.SeedGenerator(noise_seed) if noise else None

    def build(self, x_shape: Any, other_shape: Any) -> None:
        channels = (x_shape[-1],)
        self.generator.build(channels, (other_shape[-1],))
        self.film.build(x_shape, channels, channels)

    def call(self, x: Any, other: Any, pools: Sequence[keras.layers.Layer] = ()) -> Any:
        gamma, beta = self.parameters(x, other)
        if self.noise:
            gamma, beta = (values * self._distortion(values) for values in (gamma, beta))
        if not pools:
            return self.film(x, gamma, beta)
        highest, lowest = _pooled(x, pools), -_pooled(-x, pools)
        return ops.maximum(self.film(highest, gamma, beta), self.film(lowest, gamma, beta))

    def parameters(self, x: Any, other: Any) -> tuple[Any, Any]:
        """`G(x, other)`: what the generator makes of a pair, without `gamma0` and `beta0`.

        Args:
            x: float tensor, `[B, Q or 1, S or 1, ..., C]`. The stream that is modulated.
            other: float tensor, likewise.

        Returns:
            `gamma` and `beta`, `[B, Q, S, C]`.
        """
        return self.generator(_averages(x), _averages(other))

    def _distortion(self, values: Any) -> Any:
        return keras.random.normal(
            ops.shape(values), 1.0, self.noise, dtype=values.dtype, seed=self.draws
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale_regularizer": keras.regularizers.serialize(self.film.scale_regularizer),
            "noise": self.noise,
            "noise_seed": self.noise_seed,
        }


def _averages(maps: Any) -> Any:
    """Averages over locations, [..., C]; sums in float32."""
    axes = tuple(range(3, len(maps.shape) - 1))
    if not axes:
        return maps
    averages = ops.mean(ops.cast(maps, keras.backend.result_type(maps.dtype, "float32")), axes)
    return ops.cast(averages, maps.dtype)


def _pooled(maps: Any, pools: Sequence[keras.layers.Layer]) -> Any:
    shape = ops.shape(maps)
    flat = ops.reshape(maps, (-1, *shape[3:]))
    for pool in pools:
        flat = pool(flat)
    return ops.reshape(flat, (*shape[:3], *ops.shape(flat)[1:]))
