"""Features as vectors: their shape, the means of classes, distances."""

from typing import Any

import keras
from keras import ops


def flat_features(features: Any) -> Any:
    """Features `[B, n, ...]` as vectors of at least float32, `[B, n, D]`.

    Distances and similarities are not taken in half precision: their differences are small beside
    their size.
    """
    shape = ops.shape(features)
    precise = keras.backend.result_type(features.dtype, "float32")
    return ops.cast(ops.reshape(features, (shape[0], shape[1], -1)), precise)


def class_means(vectors: Any, one_hot: Any) -> tuple[Any, Any]:
    """The mean vector of each class of a support set, and how many images it has.

    Args:
        vectors: float tensor, `[B, S, D]`.
        one_hot: tensor, `[B, S, N]`; a row of zeros is no image.

    Returns:
        `[B, N, D]`, 0 for a class without images; and `[B, N]`, of the vectors' type.
    """
    one_hot = ops.cast(one_hot, vectors.dtype)
    counts = ops.sum(one_hot, axis=1)
    sums = ops.einsum("bsn,bsd->bnd", one_hot, vectors)
    return sums / ops.maximum(counts, 1.0)[..., None], counts


def squared_distances(queries: Any, prototypes: Any) -> Any:
    """Squared Euclidean distances, none negative.

    Args:
        queries: float tensor, `[B, Q, D]`.
        prototypes: float tensor, `[B, N, D]`.

    Returns:
        Tensor, `[B, Q, N]`.
    """
    # Distances do not change when all vectors move together; the sums below cancel less where
    # the vectors are short.
    center = ops.stop_gradient(ops.mean(prototypes, axis=1, keepdims=True))
    queries, prototypes = queries - center, prototypes - center
    products = ops.einsum("bqd,bnd->bqn", queries, prototypes)
    query_norms = ops.sum(ops.square(queries), axis=-1)[..., None]
    norms = ops.sum(ops.square(prototypes), axis=-1)[:, None, :]
    return ops.maximum(query_norms - 2.0 * products + norms, 0.0)
