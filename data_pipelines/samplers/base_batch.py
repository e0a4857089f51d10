"""A sampler of plain batches of the base classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_sizes,
    class_pool,
    random_order,
    rows_of,
    stream_seed,
)

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def base_batch(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    batch_size: int = 128,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws a plain batch of images with the ids of their classes: an episode of queries alone.

    There is no support set and no label within the episode: the target of an image is its class
    in the whole split. An epoch is `N // batch_size` consecutive batches, `N` being the images to
    draw from; each epoch shuffles all images anew and uses each once, but for the
    `N % batch_size` at the end. A batch ranks all `N` images: milliseconds for 50,000.

    Args:
        split: `ClassSplit`. The base classes.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the batch.
        batch_size: int. Images in the batch.
        rotations: str. `"class"`: each stored rotation is a class. `"none"`: upright images only.

    Returns:
        dict with `query_indices`, int64 `[batch_size]`, rows of the store, and `query_labels` and
        `query_class_ids`, int32 `[batch_size]`, positions in the split.

    Raises:
        ValueError: if the split has fewer images than `batch_size`, or for
            `rotations="episode"`, which has no meaning without episodes.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import base_batch

    split = ClassSplit(
        name="train", class_names=("a", "b"), counts=np.array([2, 4]), offsets=np.array([0, 2]),
        superclasses=np.zeros(2, "int32"), superclass_names=("Latin",),
    )
    batch = base_batch(split, 0, 0, batch_size=6)
    assert sorted(batch["query_indices"].numpy()) == [0, 1, 2, 3, 4, 5]
    assert sorted(batch["query_labels"].numpy()) == [0, 0, 1, 1, 1, 1]
    ```
    """
    check_sizes(batch_size=batch_size)
    if rotations == "episode":
        raise ValueError(
            "rotations='episode' has no meaning for plain batches. Use 'class' or 'none'."
        )
    positions = class_pool(split, rotations).positions
    total = int(np.sum(np.asarray(split.counts)[positions]))
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
    rows, class_ids = rows_of(split, positions, images)
    return {
        "query_indices": rows,
        "query_labels": class_ids,
        "query_class_ids": class_ids,
    }
