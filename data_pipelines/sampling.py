"""Samplers: which images make up episode number `index`.

A sampler is a pure function of (seed, split, index). The same arguments give the same episode on
any machine, after any restart, eagerly, in a `tf.function` and under XLA; nothing is remembered
from one episode to the next, so any of them can be looked up by its number.

Every sampler returns rows of the class store, not images:

- `support_indices`, `query_indices`: int64, `[S]` and `[Q]`.
- `support_labels`, `query_labels`: int32, `[S]` and `[Q]`, from 0 to ways - 1. A class's label is
  its place in a random permutation, so a label says nothing about the class.
- `support_class_ids`, `query_class_ids`: int32, `[S]` and `[Q]`, positions in the split.
- `support_mask`: bool, `[S]`, only where ways or shots vary; `False` marks padding.

The support set comes sorted by label, and so do the queries, except where `total_queries` draws
the class of each query at random.
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
        split: `ClassSplit`, the classes to draw from.
        seed: int, within 64 bits.
        index: int64 scalar, the number of the episode.
        ways: int. Classes in the episode.
        shots: int. Support images per class.
        queries: int. Query images per class, unless `total_queries` is given.
        total_queries: int or None. That many queries in all, the class of each drawn uniformly:
            with 1, the single query image of STANet. Every class must then have images for all.
        rotations: str, for stores that hold rotated images. `"class"`: each rotation is a class
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
    from data_pipelines.sampling import fixed_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    episode = fixed_episode(split, 0, 7, ways=3, shots=2, queries=1)
    assert episode["support_labels"].numpy().tolist() == [0, 0, 1, 1, 2, 2]
    assert episode["query_indices"].shape == (3,)
    ```
    """
    pool = _checked_pool(split, rotations, ways, shots, queries, total_queries)
    class_seed, *seeds = substreams(stream_seed(split, seed, index), 4)
    chosen = random_order(class_seed, [pool.size], ways)
    return _assemble(split, pool, seeds, chosen, shots, queries, total_queries)


def epoch_episode(
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
    """Draws an episode whose classes no other episode of the same epoch uses.

    An epoch is `C // ways` consecutive episodes, `C` being the classes to draw from. Each epoch
    permutes all classes anew and deals them out, `ways` an episode; the `C % ways` at the end
    sit that epoch out. Images are drawn as in `fixed_episode`.

    Args:
        split: `ClassSplit`, the classes to draw from.
        seed: int, within 64 bits.
        index: int64 scalar, the number of the episode; its epoch is `index // (C // ways)`.
        ways: int. Classes in the episode.
        shots: int. Support images per class.
        queries: int. Query images per class, unless `total_queries` is given.
        total_queries: int or None. See `fixed_episode`; STANet trains with 1.
        rotations: str. See `fixed_episode`.

    Returns:
        dict of tensors, as `fixed_episode` returns.

    Raises:
        ValueError: if the split has fewer classes than `ways`, or a class too few images.

    Reference:
        Yan, Zhang, He, "A Dual Attention Network with Semantic Embedding for Few-shot Learning"
        (AAAI 2019), implementation details: each training class occurs once in every epoch.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.sampling import epoch_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    epoch = [epoch_episode(split, 0, index, ways=3, total_queries=1) for index in range(2)]
    used = np.concatenate([episode["support_class_ids"] for episode in epoch])
    assert sorted(used) == [0, 1, 2, 3, 4, 5]
    ```
    """
    pool = _checked_pool(split, rotations, ways, shots, queries, total_queries)
    index = tf.cast(index, tf.int64)
    episodes_per_epoch = pool.size // ways
    epoch_seed = stream_seed(split, seed, index // episodes_per_epoch, purpose="epoch")
    order = random_order(epoch_seed, [pool.size], pool.size)
    chosen = tf.gather(order, index % episodes_per_epoch * ways + np.arange(ways))
    seeds = substreams(stream_seed(split, seed, index), 3)
    return _assemble(split, pool, seeds, chosen, shots, queries, total_queries)


def base_batch(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    batch_size: int = 128,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws a plain batch of images with the ids of their classes, for pre-training.

    There is no support set and no label within the episode: the target of an image is its class
    in the whole split. An epoch is `N // batch_size` consecutive batches, `N` being the images to
    draw from; each epoch shuffles all images anew and uses each once, but for the
    `N % batch_size` at the end. A batch ranks all `N` images: milliseconds for 50,000.

    Args:
        split: `ClassSplit`, the base classes.
        seed: int, within 64 bits.
        index: int64 scalar, the number of the batch.
        batch_size: int. Images in the batch.
        rotations: str. `"class"`: each stored rotation is a class. `"none"`: upright images only.

    Returns:
        dict with `indices`, int64 `[batch_size]`, rows of the store, and `class_ids`, int32
        `[batch_size]`, positions in the split.

    Raises:
        ValueError: if the split has fewer images than `batch_size`, or for
            `rotations="episode"`, which has no meaning without episodes.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.sampling import base_batch

    split = ClassSplit(
        name="train", class_names=("a", "b"), counts=np.array([2, 4]), offsets=np.array([0, 2]),
        superclasses=np.zeros(2, "int32"), superclass_names=("Latin",),
    )
    batch = base_batch(split, 0, 0, batch_size=6)
    assert sorted(batch["indices"].numpy()) == [0, 1, 2, 3, 4, 5]
    assert sorted(batch["class_ids"].numpy()) == [0, 0, 1, 1, 1, 1]
    ```
    """
    check_sizes(batch_size=batch_size)
    if rotations == "episode":
        raise ValueError(
            "rotations='episode' has no meaning for plain batches. Use 'class' or 'none'."
        )
    positions = class_pool(split, rotations).positions
    ends = np.cumsum(np.asarray(split.counts)[positions])
    total = int(ends[-1])
    if batch_size > total:
        raise ValueError(
            f"batch_size={batch_size}, but split {split.name!r} has {total} images to draw from. "
            f"Use at most {total}."
        )
    index = tf.cast(index, tf.int64)
    batches_per_epoch = total // batch_size
    epoch_seed = stream_seed(split, seed, index // batches_per_epoch, purpose="batches")
    order = random_order(epoch_seed, [total], total)
    images = tf.gather(order, index % batches_per_epoch * batch_size + np.arange(batch_size))
    images = tf.cast(images, tf.int64)
    # Image j of the split belongs to the first class whose images end after it.
    place = tf.searchsorted(ends.astype("int64"), images, side="right")
    shifts = np.asarray(split.offsets)[positions] - (ends - np.asarray(split.counts)[positions])
    return {
        "indices": images + tf.gather(shifts.astype("int64"), place),
        "class_ids": tf.gather(positions.astype("int32"), place),
    }


def _checked_pool(
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
    check_images(split, pool.positions, _images_per_class(shots, queries, total_queries))
    return pool


def _images_per_class(shots: int, queries: int, total_queries: int | None) -> int:
    # All queries may fall to one class when their classes are drawn at random.
    return shots + (queries if total_queries is None else total_queries)


def _assemble(
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
    ways = chosen.shape[0]
    class_ids = positions_in_split(pool, chosen, rotation_seed)
    per_class = _images_per_class(shots, queries, total_queries)
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
