"""Steps that the `tf.data` pipelines share, from a number to an element on the device."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from data_pipelines.class_split import LABEL_LEVELS
from data_pipelines.samplers.draws import check_sizes

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.dataset import FewShotDataset


def mapped_images(dataset: FewShotDataset) -> tf.Variable:
    """Wraps the mapped store so that `tf.data` can refer to it without copying it.

    Before it runs a pipeline `tf.data` rewrites it, and copies every tensor that the pipeline
    captured; of a variable it copies the handle. (Leaving default optimisations out does not
    help: op determinism brings the rewriting back.) Read with `read_value()`: `tf.gather` of the
    variable itself would make a private copy first.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.Variable(dataset.store.tensor(), trainable=False, name="images")


def label_table(classes: ClassSplit, label_level: str) -> tf.Tensor | None:
    """Gives the table from class to label; None where the label is the class itself."""
    if label_level not in LABEL_LEVELS:
        raise ValueError(
            f"label_level must be one of {LABEL_LEVELS}; received label_level={label_level!r}."
        )
    if label_level == "class":
        return None
    return tf.constant(classes.superclasses, tf.int32)


def episode_numbers(start: int, count: int | None, size: int) -> tf.data.Dataset:
    """Counts this shard's episodes, from that of element `start`, `size` to an element."""
    check_not_negative(start=start)
    if count is None:
        return tf.data.Dataset.counter(start * size)
    check_not_negative(count=count)
    return tf.data.Dataset.range(start * size, (start + count) * size)


def mapped(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Maps on all cores, in order."""
    # A sampler is plain graph code; converting it would only cost time before the first episode.
    return dataset.map(
        tf.autograph.experimental.do_not_convert(function),
        num_parallel_calls=os.cpu_count() or 1,
        deterministic=True,
    )


def delivered(dataset: tf.data.Dataset, prefetch: int) -> tf.data.Dataset:
    """Prefetches to the GPU if there is one, else in memory."""
    check_not_negative(prefetch=prefetch)
    if not prefetch:
        return dataset
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name, prefetch))
    return dataset.prefetch(prefetch)


def check_shard(shard_index: int, num_shards: int) -> None:
    """Raises a ValueError unless `0 <= shard_index < num_shards`."""
    check_sizes(num_shards=num_shards)
    if not 0 <= operator.index(shard_index) < num_shards:
        raise ValueError(
            f"shard_index must be from 0 to num_shards - 1 = {num_shards - 1}; "
            f"received shard_index={shard_index}."
        )


def check_not_negative(**numbers: int) -> None:
    """Raises a ValueError that names the first negative number."""
    for name, number in numbers.items():
        if operator.index(number) < 0:
            raise ValueError(f"{name} must not be negative; received {name}={number}.")
