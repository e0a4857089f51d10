"""A sampler of episodes of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from data_pipelines.samplers.draws import (
    few_classes,
    stream_seed,
    substreams,
)
from data_pipelines.samplers.fixed_sizes import checked_pool, fixed_sizes

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def fixed_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    total_queries: int | None = None,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws an episode of `ways` classes with `shots` support images each.

    Classes are drawn uniformly without replacement, then `shots + queries` different images of
    each, so no image is in both the support and the query set.

    Args:
        split: `ClassSplit`. The classes to draw from.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        ways: int. Classes in the episode.
        shots: int. Support images per class.
        queries: int. Query images per class, unless `total_queries` is given.
        total_queries: int or None. That many queries in all, the class of each drawn uniformly:
            with 1, the single query image of STANet. Every class must then have images for all.
        rotations: str. For stores that hold rotated images. `"class"`: each rotation is a class
            of its own. `"episode"`: a class takes one random rotation in the whole episode.
            `"none"`: upright images only.

    Returns:
        dict of tensors as the module says, `S = ways * shots`, and `Q = ways * queries` or
        `total_queries`. Sorted by label, but for the queries with `total_queries`.

    Raises:
        ValueError: if the split has fewer classes than `ways`, or a class too few images.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import fixed_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    episode = fixed_episode(split, 0, 7, ways=3, shots=2, queries=1)
    assert episode["support_labels"].numpy().tolist() == [0, 0, 1, 1, 2, 2]
    assert episode["query_indices"].shape == (3,)
    ```
    """
    pool = checked_pool(split, rotations, ways, shots, queries, total_queries)
    class_seed, *seeds = substreams(stream_seed(split, seed, index), 4)
    chosen = few_classes(class_seed, pool.size, ways)
    return fixed_sizes(split, pool, seeds, chosen, shots, queries, total_queries)
