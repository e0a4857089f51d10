"""A sampler whose epochs use every class once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    random_order,
    stream_seed,
    substreams,
)
from data_pipelines.samplers.fixed_sizes import checked_pool, fixed_sizes

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


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
        split: `ClassSplit`. The classes to draw from.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode; its epoch is `index // (C // ways)`.
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
    from data_pipelines.samplers import epoch_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    epoch = [epoch_episode(split, 0, index, ways=3, total_queries=1) for index in range(2)]
    used = np.concatenate([episode["support_class_ids"] for episode in epoch])
    assert sorted(used) == [0, 1, 2, 3, 4, 5]
    ```
    """
    pool = checked_pool(split, rotations, ways, shots, queries, total_queries)
    index = tf.cast(index, tf.int64)
    episodes_per_epoch = pool.size // ways
    epoch_seed = stream_seed(split, seed, index // episodes_per_epoch, purpose="epoch")
    order = random_order(epoch_seed, [pool.size], pool.size)
    chosen = tf.gather(order, index % episodes_per_epoch * ways + np.arange(ways))
    seeds = substreams(stream_seed(split, seed, index), 3)
    return fixed_sizes(split, pool, seeds, chosen, shots, queries, total_queries)
