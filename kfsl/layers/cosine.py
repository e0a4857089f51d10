"""Cosine similarity of queries and supports, normalised as the papers variously do."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

NORMALIZATIONS = ("support", "query", "both")


@keras.saving.register_keras_serializable(package="kfsl")
class CosineSimilarity(keras.layers.Layer):
    """Similarity of every query with every support vector, divided by one norm or by both.

    `"support"` is `<q, s> / max(||s||, epsilon)`: the query's norm stays and acts as a
    temperature of its own for each query. `"query"` divides by the query's norm instead;
    `"both"` is the cosine, between -1 and 1. A zero vector is similar to nothing: its similarity
    is 0, and so is its gradient.

    The arithmetic is float32 under mixed precision; where the similarities are logits, give the
    layer `dtype="float32"`.

    Args:
        normalize: str, `"support"`, `"query"` or `"both"`. Defaults to `"support"`.
        epsilon: float. Smallest norm to divide by. Defaults to `1e-10`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: queries `[..., Q, D]` and supports `[..., S, D]`. Output: `[..., Q, S]`.

    Raises:
        ValueError: A `normalize` it does not know, or an epsilon that is not positive.

    Reference:
        [Vinyals et al., 2016](https://arxiv.org/abs/1606.04080), section 2.1 (`"both"`).
        Published implementations of Matching Networks divide by the support's norm alone.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.cosine import CosineSimilarity

    queries = np.random.normal(size=(2, 15, 64)).astype("float32")
    supports = np.random.normal(size=(2, 5, 64)).astype("float32")
    assert CosineSimilarity("both")(queries, supports).shape == (2, 15, 5)
    ```
    """

    def __init__(self, normalize: str = "support", epsilon: float = 1e-10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check(normalize, epsilon)
        self.normalize = normalize
        self.epsilon = float(epsilon)

    def call(self, queries: Any, supports: Any) -> Any:
        similarity = cosine_similarity(queries, supports, self.normalize, self.epsilon)
        return ops.cast(similarity, self.compute_dtype)

    def compute_output_shape(
        self, queries_shape: tuple[int | None, ...], supports_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (*queries_shape[:-1], supports_shape[-2])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalize, "epsilon": self.epsilon}


def cosine_similarity(
    queries: Any, supports: Any, normalize: str = "support", epsilon: float = 1e-10
) -> Any:
    """Similarity of every query with every support vector; see `CosineSimilarity`.

    Args:
        queries: tensor `[..., Q, D]`.
        supports: tensor `[..., S, D]`, with the leading axes of the queries.
        normalize: str, `"support"`, `"query"` or `"both"`. Defaults to `"support"`.
        epsilon: float. Smallest norm to divide by. Defaults to `1e-10`.

    Returns:
        Tensor `[..., Q, S]`, float32 (float64 for float64 vectors).

    Raises:
        ValueError: A `normalize` it does not know, or an epsilon that is not positive.
    """
    _check(normalize, epsilon)
    queries, supports = (_at_least_float32(x) for x in (queries, supports))
    if normalize in ("query", "both"):
        queries = l2_normalize(queries, epsilon)
    if normalize in ("support", "both"):
        supports = l2_normalize(supports, epsilon)
    return ops.matmul(queries, ops.swapaxes(supports, -1, -2))


def l2_normalize(vectors: Any, epsilon: float = 1e-10) -> Any:
    """Divides vectors by `max(norm, epsilon)`; a zero vector stays zero, and so its gradient.

    Args:
        vectors: tensor `[..., D]`.
        epsilon: float. Smallest norm to divide by. Defaults to `1e-10`.

    Returns:
        Tensor `[..., D]`, float32 (float64 for float64 vectors).
    """
    vectors = _at_least_float32(vectors)
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    # Clipping before the root keeps its slope finite. Without the `where` the gradient at an
    # exactly zero vector (all ReLUs dead) would be 1 / epsilon.
    vectors = ops.where(squares > 0, vectors, ops.zeros_like(vectors))
    return vectors * ops.rsqrt(ops.maximum(squares, epsilon**2))


def _at_least_float32(x: Any) -> Any:
    x = ops.convert_to_tensor(x)
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _check(normalize: str, epsilon: float) -> None:
    if normalize not in NORMALIZATIONS:
        raise ValueError(
            f"normalize must be one of {NORMALIZATIONS}; received normalize={normalize!r}"
        )
    if not epsilon >= 1e-18:
        raise ValueError(
            "epsilon must be at least 1e-18: its square has to be a float32 above zero; "
            f"received epsilon={epsilon}"
        )
