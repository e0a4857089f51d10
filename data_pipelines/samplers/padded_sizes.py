"""Episodes whose sizes are drawn, their support sets padded to the largest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    ClassPool,
    check_sizes,
    draw_images,
    padding_last,
    positions_in_split,
    uniform_integers,
)

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def check_ranges(
    min_ways: int, max_ways: int, min_shots: int, max_shots: int, total_queries: int
) -> None:
    check_sizes(
        min_ways=min_ways,
        max_ways=max_ways,
        min_shots=min_shots,
        max_shots=max_shots,
        total_queries=total_queries,
    )
    for what, low, high in (("ways", min_ways, max_ways), ("shots", min_shots, max_shots)):
        if low > high:
            raise ValueError(f"The fewest {what} ({low}) must not exceed the most {what} ({high}).")


def padded_sizes(
    split: ClassSplit,
    pool: ClassPool,
    seeds: list[tf.Tensor],
    chosen: tf.Tensor,
    ways: tf.Tensor,
    min_ways: int,
    min_shots: int,
    max_shots: int,
    imbalanced: bool,
    total_queries: int,
) -> dict[str, tf.Tensor]:
    """Draws the images of the first `ways` of the chosen classes and pads the support set."""
    image_seed, rotation_seed, shot_seed = seeds
    max_ways = chosen.shape[0]
    class_ids = positions_in_split(pool, chosen, rotation_seed)
    per_class = max_shots + -(-total_queries // min_ways)
    rows = tf.reshape(draw_images(split, image_seed, class_ids, per_class), [-1])
    shots = uniform_integers(shot_seed, [max_ways if imbalanced else 1], min_shots, max_shots)

    places = np.arange(max_ways * max_shots, dtype="int32")
    labels, nth = places // max_shots, places % max_shots
    drawn = (labels < ways) & (nth < tf.repeat(shots, len(places) // shots.shape[0]))
    order, mask = padding_last(drawn)
    support_labels = order // max_shots

    # Query q of Q goes to class floor(q * ways / Q): runs that differ by one at most.
    queries = np.arange(total_queries, dtype="int32")
    query_labels = queries * ways // total_queries
    first = (query_labels * total_queries + ways - 1) // ways
    return {
        "support_indices": tf.gather(rows, support_labels * per_class + order % max_shots),
        "support_labels": support_labels,
        "support_class_ids": tf.gather(class_ids, support_labels),
        "support_mask": mask,
        "query_indices": tf.gather(rows, query_labels * per_class + max_shots + queries - first),
        "query_labels": query_labels,
        "query_class_ids": tf.gather(class_ids, query_labels),
    }
