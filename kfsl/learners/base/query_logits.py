"""Logits of queries: their loss, and classes that an episode does not have."""

from typing import Any

import keras
from keras import ops

# Logit of a class that an episode does not have; finite, so that 0 * logit stays 0.
ABSENT = -1e9


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Mean of -log softmax(logits)[label] over all queries.

    Args:
        labels: int tensor, `[B, Q]`.
        logits: float tensor, `[B, Q, ways]`.

    Returns:
        Scalar.
    """
    losses = keras.losses.sparse_categorical_crossentropy(
        ops.cast(labels, "int32"), logits, from_logits=True
    )
    return ops.mean(losses)


def mask_absent(logits: Any, support_counts: Any) -> Any:
    """Logits with the classes that have no support image made impossible.

    Args:
        logits: float tensor, `[B, Q, ways]`.
        support_counts: float tensor, `[B, ways]`. Support images of each class.

    Returns:
        Tensor, `[B, Q, ways]`.
    """
    return ops.where(support_counts[:, None, :] > 0, logits, ABSENT)
