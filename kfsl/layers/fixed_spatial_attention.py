"""Spatial attention that is not learned: uniform, or a Gaussian on the image's centre."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class FixedSpatialAttention(keras.layers.Layer):
    """The same attention on every map, in the place of `SpatialAttention`.

    Uniform attention makes the attended features a global average pooling. The Gaussian is
    isotropic and centred on the map, normalised to sum 1. It has no weights.

    Args:
        sigma: float or None. Standard deviation of the Gaussian, as a fraction of the shorter
            side of the map; None is uniform. Defaults to None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input and output as `SpatialAttention`: query vectors `[B, Q, d_h]`, support maps
    `[B, S, h, w, C]` and query maps `[B, Q, h, w, C]` to attention `[B, Q, S, h, w]` and
    `[B, Q, h, w]`, float32 under mixed precision.

    Raises:
        ValueError: `sigma` is not positive.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), table 2, which
        does not give the width of its Gaussian.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.fixed_spatial_attention import FixedSpatialAttention

    query, maps = np.zeros((1, 2, 8)), np.zeros((1, 2, 5, 5, 8))
    on_support, on_query = FixedSpatialAttention(sigma=0.25)(query, maps, maps)
    assert on_query[0, 0, 2, 2] > on_query[0, 0, 0, 0]
    ```
    """

    def __init__(self, sigma: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sigma is not None and not sigma > 0:
            raise ValueError(f"sigma must be positive, or None; received sigma={sigma}")
        self.sigma = None if sigma is None else float(sigma)

    def call(self, query: Any, support_maps: Any, query_maps: Any) -> tuple[Any, Any]:
        del query
        batch, queries, height, width, _ = ops.shape(query_maps)
        attention = self._map(height, width)
        supports = ops.shape(support_maps)[1]
        return (
            ops.broadcast_to(attention, (batch, queries, supports, height, width)),
            ops.broadcast_to(attention, (batch, queries, height, width)),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma}

    def _map(self, height: Any, width: Any) -> Any:
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        if self.sigma is None:
            weights = ops.ones((height, width), dtype)
        else:
            scale = self.sigma * ops.cast(ops.minimum(height, width), dtype)
            rows, columns = (_bell(size, scale, dtype) for size in (height, width))
            weights = rows[:, None] * columns[None, :]
        return weights / ops.sum(weights)


def _bell(size: Any, scale: Any, dtype: str) -> Any:
    positions = ops.cast(ops.arange(size), dtype)
    centre = (ops.cast(size, dtype) - 1.0) / 2.0
    return ops.exp(-0.5 * ops.square((positions - centre) / scale))
