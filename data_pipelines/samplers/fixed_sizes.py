"""Episodes of as many classes and images as was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    ClassPool,
    check_images,
    check_sizes,
    check_ways,
    class_pool,
    draw_images,
    positions_in_split,
    uniform_integers,
)

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def checked_pool(
    split: ClassSplit,
    rotations: str,
    ways: int,
    shots: int,
    queries: int,
    total_queries: int | None,
) -> ClassPool:
    check_sizes(ways=ways, shots=shots)
    if total_queries is None:
        check_sizes(queries=queries)
    else:
        check_sizes(total_queries=total_queries)
    pool = class_pool(split, rotations)
    check_ways(split, pool, ways)
    check_images(split, pool.positions, images_per_class(shots, queries, total_queries))
    return pool


def images_per_class(shots: int, queries: int, total_queries: int | None) -> int:
    # All queries may fall to one class when their classes are drawn at random.
    return shots + (queries if total_queries is None else total_queries)


def fixed_sizes(
    split: ClassSplit,
    pool: ClassPool,
    seeds: list[tf.Tensor],
    chosen: tf.Tensor,
    shots: int,
    queries: int,
    total_queries: int | None,
) -> dict[str, tf.Tensor]:
    """Draws the images of the chosen classes; the order of `chosen` is the order of labels."""
    image_seed, rotation_seed, query_seed = seeds
    class_ids = positions_in_split(pool, chosen, rotation_seed)
    return sized_episode(split, class_ids, image_seed, shots, queries, total_queries, query_seed)


def sized_episode(
    split: ClassSplit,
    class_ids: tf.Tensor,
    image_seed: tf.Tensor,
    shots: int,
    queries: int,
    total_queries: int | None = None,
    query_seed: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Draws the images of classes, given by their positions in the split, in label order."""
    ways = class_ids.shape[0]
    per_class = images_per_class(shots, queries, total_queries)
    rows = draw_images(split, image_seed, class_ids, per_class)
    support_labels = np.repeat(np.arange(ways, dtype="int32"), shots)
    if total_queries is None:
        query_labels = np.repeat(np.arange(ways, dtype="int32"), queries)
        query_indices = tf.reshape(rows[:, shots:], [-1])
    else:
        query_labels = uniform_integers(query_seed, [total_queries], 0, ways - 1)
        # The n-th query of a class takes the n-th of the images left for queries.
        hits = tf.one_hot(query_labels, ways, dtype=tf.int32)
        nth = tf.reduce_sum(tf.cumsum(hits, exclusive=True) * hits, axis=1)
        query_indices = tf.gather_nd(rows, tf.stack([query_labels, shots + nth], axis=1))
    return {
        "support_indices": tf.reshape(rows[:, :shots], [-1]),
        "support_labels": tf.constant(support_labels),
        "support_class_ids": tf.gather(class_ids, support_labels),
        "query_indices": query_indices,
        "query_labels": tf.convert_to_tensor(query_labels),
        "query_class_ids": tf.gather(class_ids, query_labels),
    }
