"""Task attention of STANet: which support images tell the query's label."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Score of a padded support; finite, so that an episode of padding alone has no NaN.
_NEVER = -1e9


@keras.saving.register_keras_serializable(package="kfsl")
class TaskAttention(keras.layers.Layer):
    """Attention of each query over the support images, and what it gathers from them.

    Support features belong to a query: spatial attention has made them for it. Values embed the
    features together with the one-hot labels, so the layer can copy labels and look beyond them.

    Scores and softmax are float32 under mixed precision, and so is the attention.

    Args:
        key_dim: int. Size `d_kt` of the keys. Defaults to `64`.
        value_dim: int. Size `d_vt` of the values. Defaults to `64`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: query features `[B, Q, C]`, support features `[B, Q, S, C]`, one-hot support labels
    `[B, S, N]` and an optional bool mask `[B, S]`, False for padding, which gets attention 0.
    Output: the context `o_g` `[B, Q, value_dim]`, the attended support features `o_s`
    `[B, Q, C]` and the attention `[B, Q, S]`.

    Raises:
        ValueError: `key_dim` or `value_dim` is not positive.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), equations 6, 7 and 9.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.task_attention import TaskAttention

    queries = np.random.normal(size=(2, 3, 8)).astype("float32")
    supports = np.random.normal(size=(2, 3, 5, 8)).astype("float32")
    labels = np.tile(np.eye(5, dtype="float32"), (2, 1, 1))
    context, attended, attention = TaskAttention(value_dim=6)(queries, supports, labels)
    assert context.shape == (2, 3, 6) and attention.shape == (2, 3, 5)
    ```
    """

    def __init__(
        self,
        key_dim: int = 64,
        value_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if key_dim < 1 or value_dim < 1:
            raise ValueError(
                "key_dim and value_dim must be at least 1; "
                f"received key_dim={key_dim}, value_dim={value_dim}"
            )
        self.key_dim = key_dim
        self.value_dim = value_dim

    def build(self, query_features_shape: tuple, one_hot_shape: tuple) -> None:
        channels, ways = query_features_shape[-1], one_hot_shape[-1]
        if ways is None:
            raise ValueError(
                "TaskAttention's values are tied to the number of classes, which must be known; "
                f"received one-hot labels of shape {one_hot_shape}"
            )
        # One initialiser draws the same values for both: at the start q'k is a positive
        # semi-definite form and like attends to like. From two draws the attention starts out
        # blind, and labels are learnt later.
        same = keras.initializers.GlorotUniform()
        self.query_kernel = self._kernel("query_kernel", channels, self.key_dim, same)
        self.key_kernel = self._kernel("key_kernel", channels, self.key_dim, same)
        self.value_kernel = self._kernel("value_kernel", channels + ways, self.value_dim)

    def _kernel(
        self, name: str, rows: int, columns: int, initializer: Any = "glorot_uniform"
    ) -> keras.Variable:
        return self.add_weight((rows, columns), initializer=initializer, name=name, autocast=False)

    def call(
        self, query_features: Any, support_features: Any, one_hot: Any, support_mask: Any = None
    ) -> tuple[Any, Any, Any]:
        attention = self._attention(query_features, support_features, support_mask)
        weights = ops.cast(attention, self.compute_dtype)
        attended = ops.einsum("bqs,bqsc->bqc", weights, support_features)
        labels = ops.einsum("bqs,bsn->bqn", weights, one_hot)
        # (7): V a = W_v [Z; Y] a = W_v [Z a; Y a], so no support needs a value of its own.
        gathered = ops.concatenate([attended, labels], axis=-1)
        context = ops.matmul(gathered, ops.cast(self.value_kernel, self.compute_dtype))
        return context, attended, attention

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "key_dim": self.key_dim, "value_dim": self.value_dim}

    def _attention(self, query_features: Any, support_features: Any, support_mask: Any) -> Any:
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        keys = ops.matmul(ops.cast(query_features, dtype), ops.cast(self.query_kernel, dtype))
        probes = ops.matmul(keys, ops.transpose(ops.cast(self.key_kernel, dtype)))
        probes = probes * self.key_dim**-0.5
        scores = ops.einsum("bqc,bqsc->bqs", probes, ops.cast(support_features, dtype))
        if support_mask is not None:
            scores = ops.where(ops.cast(support_mask, "bool")[:, None, :], scores, _NEVER)
        return ops.softmax(scores, axis=-1)
