"""Splits, and many episodes at once, for the tests of samplers and pipelines."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from data_pipelines.class_split import ClassSplit


def toy_split(
    counts: Sequence[int],
    superclasses: Sequence[int] | None = None,
    rotations: int = 1,
    name: str = "train",
) -> ClassSplit:
    """A split whose classes lie apart in the store: 3 rows of another split before each group."""
    counts = np.asarray(counts, "int64")
    gaps = 3 * (1 + np.arange(len(counts)) // rotations)
    superclasses = np.zeros(len(counts)) if superclasses is None else superclasses
    superclasses = np.asarray(superclasses, "int32")
    return ClassSplit(
        name=name,
        class_names=tuple(f"class{i}" for i in range(len(counts))),
        counts=counts,
        offsets=np.cumsum(counts) - counts + gaps,
        superclasses=superclasses,
        superclass_names=tuple(f"super{i}" for i in range(int(superclasses.max()) + 1)),
        rotations=rotations,
    )


def class_of_rows(split: ClassSplit, rows: np.ndarray) -> np.ndarray:
    """The class that owns each row of the store; fails for a row of no class."""
    inside = (rows[..., None] >= split.offsets) & (rows[..., None] < split.offsets + split.counts)
    assert np.all(inside.sum(axis=-1) == 1)
    return inside.argmax(axis=-1)


def many(
    sampler: Callable, split: ClassSplit, count: int, seed: int = 0, **sizes: object
) -> dict[str, np.ndarray]:
    """Episodes 0 to count - 1, stacked."""

    @tf.autograph.experimental.do_not_convert
    def draw(index: tf.Tensor) -> dict[str, tf.Tensor]:
        return sampler(split, seed, index, **sizes)

    stacked = tf.data.Dataset.range(count).map(draw, num_parallel_calls=2).batch(count)
    return {name: tensor.numpy() for name, tensor in next(iter(stacked)).items()}
