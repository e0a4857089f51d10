"""A sampler of episodes whose sizes vary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_images,
    check_ways,
    class_pool,
    few_classes,
    stream_seed,
    substreams,
    uniform_integers,
)
from data_pipelines.samplers.padded_sizes import check_ranges, padded_sizes
from kfsl.argument_checks import check_flag

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def variable_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    min_ways: int = 5,
    max_ways: int = 20,
    min_shots: int = 1,
    max_shots: int = 5,
    imbalanced: bool = True,
    total_queries: int = 60,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws an episode with a random number of classes and of support images.

    The number of classes is uniform, and so is the number of shots: for each class on its own
    when `imbalanced`, else once for all. The support set is padded to the largest size; the
    number of queries is constant, spread over the episode's classes as evenly as it goes.

    Args:
        split: `ClassSplit`. The classes to draw from.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        min_ways: int. Fewest classes.
        max_ways: int. Most classes.
        min_shots: int. Fewest support images of a class.
        max_shots: int. Most support images of a class.
        imbalanced: bool. Whether classes of one episode differ in their shots.
        total_queries: int. Queries in all; the queries of two classes differ by one at most.
        rotations: str. See `data_pipelines.samplers.fixed_episode`.

    Returns:
        dict of tensors with `S = max_ways * max_shots`, `Q = total_queries`. `support_mask` is
        `True` for the images drawn, which come first, sorted by label. The padding after them
        has label 0 and repeats the first image. Queries are sorted by label.

    Raises:
        ValueError: if the split has fewer classes than `max_ways`, or a class too few images for
            `max_shots` and its queries at `min_ways`.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import variable_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    episode = variable_episode(split, 0, 7, min_ways=2, max_ways=4, max_shots=3, total_queries=8)
    assert episode["support_mask"].shape == (12,)
    assert episode["query_indices"].shape == (8,)
    ```
    """
    check_flag("imbalanced", imbalanced)
    check_ranges(min_ways, max_ways, min_shots, max_shots, total_queries)
    pool = class_pool(split, rotations)
    check_ways(split, pool, max_ways)
    check_images(split, pool.positions, max_shots + -(-total_queries // min_ways))
    way_seed, class_seed, *seeds = substreams(stream_seed(split, seed, index), 5)
    ways = uniform_integers(way_seed, [], min_ways, max_ways)
    chosen = few_classes(class_seed, pool.size, max_ways)
    return padded_sizes(
        split, pool, seeds, chosen, ways, min_ways, min_shots, max_shots, imbalanced, total_queries
    )
