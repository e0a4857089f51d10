"""One spatial-task attention (STA) layer of STANet."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kfsl.layers.fixed_spatial_attention import FixedSpatialAttention
from kfsl.layers.spatial_attention import SpatialAttention
from kfsl.layers.task_attention import TaskAttention

SPATIAL_ATTENTIONS = ("learned", "uniform", "gaussian")


@keras.saving.register_keras_serializable(package="kfsl")
class SpatialTaskAttention(keras.layers.Layer):
    """Looks at the right place in each image, then at the right images.

    The refined query of one layer is the query of the next; every layer reads the same maps.
    A map per pair of query and support image is never formed: memory is that of the attended
    features, `B * Q * S * C`.

    Args:
        spatial_key_dim: int. Size `d_ks` of the spatial keys. Defaults to `64`.
        task_key_dim: int. Size `d_kt` of the task attention's keys. Defaults to `64`.
        value_dim: int. Size `d_vt` of the context. Defaults to `64`.
        spatial_attention: str. `"learned"`, or without weights `"uniform"` or `"gaussian"`.
            Defaults to `"learned"`.
        gaussian_sigma: float. Width of the Gaussian, as a fraction of the shorter side of the
            map. Defaults to `0.25`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: query vectors `[B, Q, d_h]`, support maps `[B, S, h, w, C]`, query maps
    `[B, Q, h, w, C]`, one-hot support labels `[B, S, N]` and an optional bool mask `[B, S]`,
    False for padding. Output, a dict: `context` `[B, Q, value_dim]`, `refined_query`
    `[B, Q, 2 C]`, and the attentions `spatial_attention_support` `[B, Q, S, h, w]`,
    `spatial_attention_query` `[B, Q, h, w]`, `task_attention` `[B, Q, S]`.

    Raises:
        ValueError: A `spatial_attention` it does not know, or a size that is not positive.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), equations 3 to 9.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.spatial_task_attention import SpatialTaskAttention

    support_maps = np.random.normal(size=(1, 5, 7, 7, 8)).astype("float32")
    query_maps = np.random.normal(size=(1, 3, 7, 7, 8)).astype("float32")
    labels = np.eye(5, dtype="float32")[None]
    layer = SpatialTaskAttention(value_dim=6)
    outputs = layer(query_maps.mean((2, 3)), support_maps, query_maps, labels)
    assert outputs["context"].shape == (1, 3, 6)
    assert outputs["refined_query"].shape == (1, 3, 16)
    ```
    """

    def __init__(
        self,
        spatial_key_dim: int = 64,
        task_key_dim: int = 64,
        value_dim: int = 64,
        spatial_attention: str = "learned",
        gaussian_sigma: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if spatial_attention not in SPATIAL_ATTENTIONS:
            raise ValueError(
                f"spatial_attention must be one of {SPATIAL_ATTENTIONS}; "
                f"received spatial_attention={spatial_attention!r}"
            )
        self.spatial_key_dim = spatial_key_dim
        self.task_key_dim = task_key_dim
        self.value_dim = value_dim
        self.spatial_attention = spatial_attention
        self.gaussian_sigma = gaussian_sigma
        policy = self.dtype_policy
        if spatial_attention == "learned":
            self.spatial = SpatialAttention(spatial_key_dim, dtype=policy, name="spatial")
        else:
            sigma = gaussian_sigma if spatial_attention == "gaussian" else None
            self.spatial = FixedSpatialAttention(sigma, dtype=policy, name="spatial")
        self.task = TaskAttention(task_key_dim, value_dim, dtype=policy, name="task")

    def build(self, query_shape: tuple, support_maps_shape: tuple, one_hot_shape: tuple) -> None:
        if self.spatial_attention == "learned":
            self.spatial.build(query_shape, support_maps_shape)
        channels = support_maps_shape[-1]
        self.task.build((*query_shape[:2], channels), one_hot_shape)

    def call(
        self,
        query: Any,
        support_maps: Any,
        query_maps: Any,
        one_hot: Any,
        support_mask: Any = None,
    ) -> dict[str, Any]:
        on_support, on_query = self.spatial(query, support_maps, query_maps)
        # (5) as sums over locations, contracted without a map per query and support image.
        support_weights, query_weights = (
            ops.cast(attention, self.compute_dtype) for attention in (on_support, on_query)
        )
        supports = ops.einsum("bqshw,bshwc->bqsc", support_weights, support_maps)
        queries = ops.einsum("bqhw,bqhwc->bqc", query_weights, query_maps)
        context, attended, on_task = self.task(queries, supports, one_hot, support_mask)
        return {
            "context": context,
            "refined_query": ops.concatenate([queries, attended], axis=-1),
            "spatial_attention_support": on_support,
            "spatial_attention_query": on_query,
            "task_attention": on_task,
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "spatial_key_dim": self.spatial_key_dim,
            "task_key_dim": self.task_key_dim,
            "value_dim": self.value_dim,
            "spatial_attention": self.spatial_attention,
            "gaussian_sigma": self.gaussian_sigma,
        }
