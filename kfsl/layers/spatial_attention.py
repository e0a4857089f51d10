"""Spatial attention of STANet: where in each image to look, given the query image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class SpatialAttention(keras.layers.Layer):
    """Attention over the locations of feature maps, asked for by a vector of the query image.

    The same vector attends to the query image's own map and to the maps of all support images,
    so the attention on a support image depends on the query.

    Scores and softmax are float32 under mixed precision, and so is the attention.

    Args:
        key_dim: int. Size `d_ks` of the keys. Defaults to `64`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: query vectors `[B, Q, d_h]`, support maps `[B, S, h, w, C]` and query maps
    `[B, Q, h, w, C]`. Output: attention on the supports `[B, Q, S, h, w]` and on the queries
    `[B, Q, h, w]`, each non-negative and summing to 1 over `h, w`.

    Raises:
        ValueError: `key_dim` is not positive.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), equations 3 and 4.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.spatial_attention import SpatialAttention

    query = np.random.normal(size=(2, 3, 8)).astype("float32")
    support_maps = np.random.normal(size=(2, 5, 7, 7, 8)).astype("float32")
    query_maps = np.random.normal(size=(2, 3, 7, 7, 8)).astype("float32")
    on_support, on_query = SpatialAttention(key_dim=4)(query, support_maps, query_maps)
    assert on_support.shape == (2, 3, 5, 7, 7) and on_query.shape == (2, 3, 7, 7)
    ```
    """

    def __init__(self, key_dim: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if key_dim < 1:
            raise ValueError(f"key_dim must be at least 1; received key_dim={key_dim}")
        self.key_dim = key_dim

    def build(self, query_shape: tuple, support_maps_shape: tuple) -> None:
        self.query_kernel = self._kernel("query_kernel", query_shape[-1])
        self.key_kernel = self._kernel("key_kernel", support_maps_shape[-1])

    def _kernel(self, name: str, size: int) -> keras.Variable:
        return self.add_weight(
            (size, self.key_dim), initializer="glorot_uniform", name=name, autocast=False
        )

    def call(self, query: Any, support_maps: Any, query_maps: Any) -> tuple[Any, Any]:
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        keys = ops.matmul(ops.cast(query, dtype), ops.cast(self.query_kernel, dtype))
        # q'(W C) = (W'q)'C: one vector per query, instead of a key at every location.
        probes = ops.matmul(keys, ops.transpose(ops.cast(self.key_kernel, dtype)))
        probes = probes * self.key_dim**-0.5
        support_scores = ops.einsum("bqc,bshwc->bqshw", probes, ops.cast(support_maps, dtype))
        query_scores = ops.einsum("bqc,bqhwc->bqhw", probes, ops.cast(query_maps, dtype))
        return _softmax_over_locations(support_scores), _softmax_over_locations(query_scores)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "key_dim": self.key_dim}


def _softmax_over_locations(scores: Any) -> Any:
    # ops.softmax warns of an axis of size 1, which a map of one location rightly has.
    largest = ops.max(scores, axis=(-2, -1), keepdims=True)
    weights = ops.exp(scores - ops.stop_gradient(largest))
    return weights / ops.sum(weights, axis=(-2, -1), keepdims=True)
