"""A sampler of images of which some pixels are given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_sizes,
    random_order,
    rows_of,
    stream_seed,
)
from kfsl.argument_checks import check_flag

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def pixel_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    points: int = 10,
    ordered: bool = False,
) -> dict[str, tf.Tensor]:
    """Draws an image to be completed: a task from places to colours.

    Consecutive episodes go through all images of the split in a random order, so that none comes
    twice before each came once; the next round has another order. All pixels are asked, the given
    ones too.

    Args:
        split: `ClassSplit`. Its images; classes count for nothing.
        seed: int. Within 64 bits.
        index: int64 scalar. Number of the episode.
        points: int. Pixels that are given.
        ordered: bool. The first pixels, row by row from the top, instead of random ones.

    Returns:
        dict with `image_indices`, int64 `[1]`, a row of the store; `image_class_ids`, int32 `[1]`;
        and `support_points`, int32 `[points]`: places of given pixels, row by row. The pipeline
        makes of them `support_inputs` `[points, 2]`, row and column as shares of height and width;
        `support_targets` `[points, C]`, colours in 0..1; and, of all pixels, `query_inputs`.

    Raises:
        ValueError: if the image has fewer pixels than `points`, the split has no images, or an
            argument is of a wrong type.

    Reference:
        [Garnelo et al., 2018](https://arxiv.org/abs/1807.01613), section 4.2;
        [Zintgraf et al., 2019](https://arxiv.org/abs/1810.03642), section 5.1.2.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import pixel_episode

    split = ClassSplit(
        name="train", class_names=("a", "b"), counts=np.array([2, 4]), offsets=np.array([0, 2]),
        superclasses=np.zeros(2, "int32"), superclass_names=("all",), image_shape=(8, 8, 3),
    )
    draws = [pixel_episode(split, 0, index, points=5) for index in range(6)]
    assert sorted(int(draw["image_indices"][0]) for draw in draws) == [0, 1, 2, 3, 4, 5]
    assert draws[0]["support_points"].shape == (5,)
    ```
    """
    check_sizes(points=points)
    check_flag("ordered", ordered)
    if split.image_shape is None:
        raise ValueError(
            f"pixel_episode completes images, and split {split.name!r} has none. Bind the sampler "
            "of these tasks, such as Experiment.sampler = @sinusoid_episode."
        )
    height, width, _ = split.image_shape
    if points > height * width:
        raise ValueError(
            f"points={points}, but an image of split {split.name!r} has {height} x {width} = "
            f"{height * width} pixels. Give at most as many."
        )
    index = tf.cast(index, tf.int64)
    total = split.num_images
    round_seed = stream_seed(split, seed, index // total, purpose="images")
    number = tf.random.experimental.index_shuffle(index % total, round_seed, max_index=total - 1)
    row, class_id = rows_of(split, np.arange(split.num_classes), number[None])
    if ordered:
        given = tf.range(points)
    else:
        given = random_order(stream_seed(split, seed, index), [math.prod((height, width))], points)
    return {"image_indices": row, "image_class_ids": class_id, "support_points": given}
