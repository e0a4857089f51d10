"""What the replicas of a training step tell each other; alone, one has nothing to tell.

Replicas are the devices or machines that share a meta-batch. Replica `r` of `R` has the tasks
`r, r + R, r + 2 R, ...` of it. Outside of a replica there is one, number 0.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def count() -> int:
    """Replicas in all."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def number() -> Any:
    """Which one this is: an int, or an int32 tensor."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def total(value: Any) -> Any:
    """The sum of a tensor over all replicas; it can be differentiated.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.distribution import replicas

    assert float(replicas.total(tf.constant(2.0))) == 2.0
    ```
    """
    if count() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def totals(values: Sequence[Any]) -> list[Any]:
    """The sums of many tensors, sent together; None stays None."""
    there = [value for value in values if value is not None]
    if count() == 1 or not there:
        return list(values)
    context = tf.distribute.get_replica_context()
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, there))
    return [None if value is None else next(summed) for value in values]


def gathered(value: Any) -> Any:
    """The rows of all replicas, in the order of their tasks."""
    replicas = count()
    if replicas == 1:
        return value
    rows = tf.distribute.get_replica_context().all_gather(value, axis=0)
    apart = tf.reshape(rows, (replicas, -1, *value.shape[1:]))
    return tf.reshape(tf.experimental.numpy.swapaxes(apart, 0, 1), (-1, *value.shape[1:]))
