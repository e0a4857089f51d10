"""Queries classified a few at a time, for methods whose memory grows with them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def map_queries(
    function: Callable[[Any], Any], queries: Any, size: Any, dtype: str = "float32"
) -> Any:
    """Applies a function of queries to chunks of them, one chunk after another.

    Args:
        function: queries `[B, n, ...]` to logits `[B, n, ways]`, in which no query depends on
            another.
        queries: tensor, `[B, Q, ...]`.
        size: int or int tensor, at least 1. Queries of a chunk.
        dtype: str. Of the logits.

    Returns:
        Logits, `[B, Q, ways]`.
    """
    total = queries.shape[1]
    if isinstance(size, int) and total is not None and total <= size:
        return function(queries)
    shape = tf.shape(queries)
    size = tf.minimum(tf.cast(size, "int32"), tf.maximum(shape[1], 1))
    chunks = tf.maximum(-(-shape[1] // size), 1)
    # The last chunk is filled up, and what it is filled with is cut off again.
    padding = [[0, 0], [0, chunks * size - shape[1]]] + [[0, 0]] * (len(queries.shape) - 2)
    padded = tf.reshape(
        tf.pad(queries, padding), tf.concat([[shape[0], chunks, size], shape[2:]], axis=0)
    )
    padded = tf.ensure_shape(padded, [queries.shape[0], None, None, *queries.shape[2:]])
    logits = tf.map_fn(
        function,
        tf.experimental.numpy.moveaxis(padded, 1, 0),
        parallel_iterations=1,  # Chunks side by side would need memory side by side.
        fn_output_signature=tf.TensorSpec([queries.shape[0], None, None], dtype),
    )
    logits = tf.experimental.numpy.moveaxis(logits, 0, 1)
    ways = tf.shape(logits)[-1]
    return tf.reshape(logits, [shape[0], chunks * size, ways])[:, : shape[1]]
