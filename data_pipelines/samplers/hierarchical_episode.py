"""A sampler of episodes whose classes share a superclass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_images,
    check_sizes,
    class_pool,
    random_order,
    stream_seed,
    substreams,
    uniform_integers,
)
from data_pipelines.samplers.padded_sizes import check_ranges, padded_sizes
from kfsl.argument_checks import check_flag

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def hierarchical_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    min_ways: int | None = None,
    min_shots: int | None = None,
    imbalanced: bool = True,
    total_queries: int | None = None,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws an episode whose classes share a superclass.

    First a superclass is drawn, uniformly among those with enough classes, then classes within
    it: fine-grained episodes. With `min_ways` or `min_shots` the sizes vary as in
    `variable_episode`, a superclass of fewer than `ways` classes giving at most all of them.

    Args:
        split: `ClassSplit`. The classes to draw from.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        ways: int. Classes in the episode; the most, if `min_ways` is given.
        shots: int. Support images per class; the most, if `min_shots` is given.
        queries: int. Query images per class, unless `total_queries` is given.
        min_ways: int or None. Fewest classes; `ways` when None.
        min_shots: int or None. Fewest support images of a class; `shots` when None.
        imbalanced: bool. Whether classes of one episode differ in their shots, if those vary.
        total_queries: int or None. Queries in all, spread evenly; `ways * queries` when None.
        rotations: str. See `data_pipelines.samplers.fixed_episode`. With `"class"` the rotations
            of a character belong to its alphabet.

    Returns:
        dict of tensors with `S = ways * shots`, and `Q = ways * queries` or `total_queries`,
        sorted by label. With `min_ways` or `min_shots` there is a `support_mask`, as
        `variable_episode` describes.

    Raises:
        ValueError: if no superclass has enough classes, or a class too few images.

    Reference:
        Triantafillou et al., "Meta-Dataset" (ICLR 2020), section 3.2: classes of one episode are
        drawn within one node of the hierarchy.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import hierarchical_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.array([0, 0, 0, 1, 1, 1], "int32"),
        superclass_names=("Greek", "Latin"),
    )
    episode = hierarchical_episode(split, 0, 7, ways=3)
    assert len(np.unique(split.superclasses[episode["support_class_ids"]])) == 1
    ```
    """
    varies = min_ways is not None or min_shots is not None
    min_ways = ways if min_ways is None else min_ways
    min_shots = shots if min_shots is None else min_shots
    if total_queries is None:
        check_sizes(ways=ways, queries=queries)
        total_queries = ways * queries
    check_flag("imbalanced", imbalanced)
    check_ranges(min_ways, ways, min_shots, shots, total_queries)
    pool = class_pool(split, rotations)
    superclasses = np.asarray(split.superclasses, "int32")[pool.positions]
    sizes = np.bincount(superclasses).astype("int32")
    _check_superclasses(split, sizes, ways)
    eligible = np.flatnonzero(sizes >= min_ways).astype("int32")
    can_occur = pool.positions[np.isin(superclasses, eligible)]
    check_images(split, can_occur, shots + -(-total_queries // min_ways))
    super_seed, way_seed, class_seed, *seeds = substreams(stream_seed(split, seed, index), 6)
    superclass = tf.gather(eligible, uniform_integers(super_seed, [], 0, len(eligible) - 1))
    most = tf.minimum(ways, tf.gather(sizes, superclass))
    drawn_ways = uniform_integers(way_seed, [], min_ways, most)
    chosen = random_order(class_seed, [pool.size], ways, valid=superclasses == superclass)
    episode = padded_sizes(
        split, pool, seeds, chosen, drawn_ways, min_ways, min_shots, shots, imbalanced,
        total_queries,
    )  # fmt: skip
    if not varies:
        del episode["support_mask"]
    return episode


def _check_superclasses(split: ClassSplit, sizes: np.ndarray, ways: int) -> None:
    largest = int(np.argmax(sizes))
    if ways > sizes[largest]:
        raise ValueError(
            f"{ways} ways asked within one superclass of split {split.name!r}, whose largest, "
            f"{split.superclass_names[largest]!r}, has {sizes[largest]} classes. "
            f"Use at most {sizes[largest]} ways."
        )
