"""Samplers of episodes whose classes share a superclass, or whose sizes vary.

They return what `data_pipelines.sampling` describes, and keep its promise: a pure function of
(seed, split, index).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.draws import (
    ClassPool,
    check_images,
    check_sizes,
    check_ways,
    class_pool,
    draw_images,
    positions_in_split,
    random_order,
    stream_seed,
    substreams,
    uniform_integers,
)

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
        split: `ClassSplit`, the classes to draw from.
        seed: int, within 64 bits.
        index: int64 scalar, the number of the episode.
        min_ways: int. Fewest classes.
        max_ways: int. Most classes.
        min_shots: int. Fewest support images of a class.
        max_shots: int. Most support images of a class.
        imbalanced: bool. Whether classes of one episode differ in their shots.
        total_queries: int. Queries in all; the queries of two classes differ by one at most.
        rotations: str. See `data_pipelines.sampling.fixed_episode`.

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
    from data_pipelines.hierarchical_sampling import variable_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    episode = variable_episode(split, 0, 7, min_ways=2, max_ways=4, max_shots=3, total_queries=8)
    assert episode["support_mask"].shape == (12,)
    assert episode["query_indices"].shape == (8,)
    ```
    """
    _check_ranges(min_ways, max_ways, min_shots, max_shots, total_queries)
    pool = class_pool(split, rotations)
    check_ways(split, pool, max_ways)
    check_images(split, pool.positions, max_shots + -(-total_queries // min_ways))
    way_seed, class_seed, *seeds = substreams(stream_seed(split, seed, index), 5)
    ways = uniform_integers(way_seed, [], min_ways, max_ways)
    chosen = random_order(class_seed, [pool.size], max_ways)
    return _assemble(
        split, pool, seeds, chosen, ways, min_ways, min_shots, max_shots, imbalanced, total_queries
    )


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
        split: `ClassSplit`, the classes to draw from.
        seed: int, within 64 bits.
        index: int64 scalar, the number of the episode.
        ways: int. Classes in the episode; the most, if `min_ways` is given.
        shots: int. Support images per class; the most, if `min_shots` is given.
        queries: int. Query images per class, unless `total_queries` is given.
        min_ways: int or None. Fewest classes; `ways` when None.
        min_shots: int or None. Fewest support images of a class; `shots` when None.
        imbalanced: bool. Whether classes of one episode differ in their shots, if those vary.
        total_queries: int or None. Queries in all, spread evenly; `ways * queries` when None.
        rotations: str. See `data_pipelines.sampling.fixed_episode`. With `"class"` the rotations
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
    from data_pipelines.hierarchical_sampling import hierarchical_episode

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
    _check_ranges(min_ways, ways, min_shots, shots, total_queries)
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
    episode = _assemble(
        split, pool, seeds, chosen, drawn_ways, min_ways, min_shots, shots, imbalanced,
        total_queries,
    )  # fmt: skip
    if not varies:
        del episode["support_mask"]
    return episode


def _check_ranges(
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


def _check_superclasses(split: ClassSplit, sizes: np.ndarray, ways: int) -> None:
    largest = int(np.argmax(sizes))
    if ways > sizes[largest]:
        raise ValueError(
            f"{ways} ways asked within one superclass of split {split.name!r}, whose largest, "
            f"{split.superclass_names[largest]!r}, has {sizes[largest]} classes. "
            f"Use at most {sizes[largest]} ways."
        )


def _assemble(
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
    # Distinct keys keep the order within each group, whatever top_k does with ties.
    order = tf.math.top_k(tf.where(drawn, len(places), 0) - places, len(places)).indices
    mask = tf.gather(drawn, order)
    order = tf.where(mask, order, 0)
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
