"""What the samplers share: random streams, draws without replacement, range checks."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from kfsl.argument_checks import is_whole

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit

# Named, because the default algorithm differs between devices and under XLA.
ALGORITHM = "philox"
ROTATIONS = ("class", "episode", "none")

#: From so many on, a rank for each class would take most of an episode's time.
MANY_CLASSES = 2**14


class ClassPool(NamedTuple):
    """The classes an episode can draw from.

    Class `i` of `size` stands at position `i * stride` of the split; it may take any of the
    `turns` rotations stored from there on. Of a mixture, whose datasets have rotations or none,
    it stands at `places[i]` and has `turns[i]`.
    """

    size: int
    stride: int
    turns: int | np.ndarray
    places: np.ndarray | None = None

    @property
    def positions(self) -> np.ndarray:
        """Positions in the split, upright images only where a stride leaves rotations out."""
        return np.arange(self.size) * self.stride if self.places is None else self.places


def class_pool(split: ClassSplit, rotations: str) -> ClassPool:
    """Lists the classes that can be drawn under a convention of rotations.

    Args:
        split: `ClassSplit`. Rotations of a class follow one another in it.
        rotations: str. `"class"`: each rotation is a class of its own. `"episode"`: a class
            takes one random rotation per episode, so it never meets its own rotated copy.
            `"none"`: upright images only.

    Returns:
        A `ClassPool`.

    Raises:
        ValueError: for another name, or `"episode"` on a split without rotations.
    """
    check_rotations(rotations)
    if split.modes is not None and rotations != "class":
        return _pool_of_mixture(split, rotations)
    total, turns = len(split.counts), int(split.rotations)
    if turns == 1 and rotations == "episode":
        raise ValueError(
            f"rotations='episode' needs images stored in four rotations; split {split.name!r} "
            "has none. Use rotations='class'."
        )
    if turns == 1 or rotations == "class":
        return ClassPool(size=total, stride=1, turns=1)
    # A store keeps the rotations of a class one behind the other; a split that tore them
    # apart would give one class the images of another.
    stored = split.counts if split.stored_counts is None else split.stored_counts
    if total % turns or np.any(
        np.diff(np.reshape(split.offsets, (-1, turns)), axis=1)
        != np.reshape(stored, (-1, turns))[:, :-1]
    ):
        raise ValueError(
            f"rotations={rotations!r} needs all {turns} rotations of each class side by side; "
            f"split {split.name!r} has {total} classes that are not. Use rotations='class'."
        )
    return ClassPool(total // turns, stride=turns, turns=turns if rotations == "episode" else 1)


def _pool_of_mixture(split: ClassSplit, rotations: str) -> ClassPool:
    modes, stored = np.asarray(split.modes), np.asarray(split.mode_rotations)
    # Rotations of a class stand side by side, the upright one in front.
    within = np.concatenate(
        [np.arange(int(np.sum(modes == mode))) % stored[mode] for mode in range(len(stored))]
    )
    upright = np.sort(np.argsort(modes, kind="stable")[within == 0])
    turns = 1 if rotations == "none" else stored[modes[upright]]
    return ClassPool(len(upright), stride=1, turns=turns, places=upright)


def stream_seed(
    split: ClassSplit, seed: int, index: int | tf.Tensor, purpose: str = "episode"
) -> tf.Tensor:
    """Gives the seed of one episode's stream: a pure function of (seed, split, index).

    Args:
        split: `ClassSplit`. Its name is folded in, so splits never share a stream.
        seed: int, within 64 bits.
        index: int64 scalar. Number of the episode, from 0.
        purpose: str. Streams of different purposes are independent.

    Returns:
        int64 tensor, shape `[2]`, for stateless random ops.
    """
    seed = operator.index(seed)
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must fit in 64 bits; received seed={seed}.")
    # Python's hash() differs from process to process.
    digest = hashlib.sha256(f"{purpose}:{split.name}".encode()).digest()
    root = tf.constant([seed, int.from_bytes(digest[:8], "little", signed=True)], tf.int64)
    return tf.random.experimental.stateless_fold_in(root, tf.cast(index, tf.int64), alg=ALGORITHM)


def substreams(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Splits a seed into `count` seeds of independent streams."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, count, alg=ALGORITHM))


def uniform_integers(
    seed: tf.Tensor, shape: list[int], low: int | tf.Tensor, high: int | tf.Tensor
) -> tf.Tensor:
    """Draws int32 from `low` to `high`, both included."""
    return tf.random.stateless_uniform(
        shape, seed, minval=low, maxval=high + 1, dtype=tf.int32, alg=ALGORITHM
    )


def random_order(
    seed: tf.Tensor, shape: list[int], k: int, valid: tf.Tensor | np.ndarray | None = None
) -> tf.Tensor:
    """Draws `k` positions of the last axis without replacement, in random order.

    Integers are ranked, not floats: 32 bits make ties rare enough (2^-32 a pair) that no
    position is favoured, and they are the same on every device.

    Args:
        seed: int64 tensor, shape `[2]`.
        shape: list of ints. Shape of the ranks; rows are independent.
        k: int, at most `shape[-1]`.
        valid: bool, broadcast to `shape`. Positions that are not valid come last.

    Returns:
        int32 tensor, shape `shape[:-1] + [k]`.
    """
    ranks = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=ALGORITHM
    )
    if valid is not None:
        ranks = tf.where(valid, tf.maximum(ranks, tf.int32.min + 1), tf.int32.min)
    return tf.math.top_k(ranks, k).indices


def few_classes(seed: tf.Tensor, size: int, k: int) -> tf.Tensor:
    """Draws `k` of `size` classes without replacement, in random order.

    Of many classes few are drawn in a time that depends on `k` alone: more than enough are drawn
    with replacement, and the first that differ are taken. That is the same distribution.

    Args:
        seed: int64 tensor, shape `[2]`.
        size: int.
        k: int, at most `size`.

    Returns:
        int32 tensor, shape `[k]`.
    """
    # With so many more classes than draws, k of 2 k + 16 differ but for one time in 10^20.
    if size < max(MANY_CLASSES, 64 * k * k):
        return random_order(seed, [size], k)
    drawn = tf.random.stateless_uniform(
        [2 * k + 16], seed, minval=0, maxval=size, dtype=tf.int64, alg=ALGORITHM
    )
    return tf.ensure_shape(tf.cast(tf.unique(drawn).y[:k], tf.int32), [k])


def positions_in_split(pool: ClassPool, chosen: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turns classes of the pool, int32 `[ways]`, into positions, each with its rotation."""
    if pool.places is not None:
        positions = tf.gather(table(pool.places, "int32"), chosen)
    else:
        positions = chosen * pool.stride if pool.stride > 1 else chosen
    most = int(np.max(pool.turns))
    if most > 1:
        turn = uniform_integers(seed, chosen.shape.as_list(), 0, most - 1)
        if pool.places is not None:
            # There are 4 rotations or 1, so that every turn is as likely.
            turn %= tf.gather(table(pool.turns, "int32"), chosen)
        positions += turn
    return positions


def table(values: np.ndarray, dtype: str) -> tf.Tensor:
    """A tensor of one number a class, for `tf.gather`.

    Taken in from outside the pipeline's graph, in which a million numbers would be written down
    several times before the first episode.

    Args:
        values: array, `[num_classes]`.
        dtype: str.

    Returns:
        tensor, `[num_classes]`.
    """
    with tf.init_scope():
        return tf.constant(np.asarray(values, dtype))


def draw_images(split: ClassSplit, seed: tf.Tensor, class_ids: tf.Tensor, k: int) -> tf.Tensor:
    """Draws `k` different images of each class.

    Args:
        split: `ClassSplit`.
        seed: int64 tensor, shape `[2]`.
        class_ids: int32 tensor, shape `[ways]`, positions in the split.
        k: int, at most the images of any of the classes.

    Returns:
        int64 tensor, shape `[ways, k]`, rows of the store.
    """
    width = int(np.max(split.counts))
    valid = None
    if np.min(split.counts) < width:
        counts = tf.gather(table(split.counts, "int32"), class_ids)
        valid = tf.range(width) < counts[:, None]
    picks = random_order(seed, [class_ids.shape[0], width], k, valid)
    first = tf.gather(table(split.offsets, "int64"), class_ids)
    return first[:, None] + tf.cast(picks, tf.int64)


def rows_of(
    split: ClassSplit, positions: np.ndarray, images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds images that are numbered from 0 over some classes, one class after another.

    Args:
        split: `ClassSplit`.
        positions: int array. Those classes, by their positions in the split.
        images: int tensor. Numbers of images.

    Returns:
        Rows of the store, int64, and positions of the images' classes, int32.
    """
    images = tf.cast(images, tf.int64)
    counts = np.asarray(split.counts, "int64")[positions]
    ends = np.cumsum(counts)
    # Image j belongs to the first class whose images end after it.
    place = tf.searchsorted(table(ends, "int64"), images, side="right")
    shifts = np.asarray(split.offsets, "int64")[positions] - (ends - counts)
    return images + tf.gather(table(shifts, "int64"), place), tf.gather(
        table(positions, "int32"), place
    )


def padding_last(drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Orders places so that those drawn come first; the order within each group is kept.

    Args:
        drawn: bool tensor, shape `[S]`.

    Returns:
        int32 tensor `[S]`, places, those of the padding being 0; and its mask, bool `[S]`.
    """
    size = drawn.shape[0]
    # Distinct keys keep the order within each group, whatever top_k does with ties.
    order = tf.math.top_k(tf.where(drawn, size, 0) - tf.range(size), size).indices
    mask = tf.gather(drawn, order)
    return tf.where(mask, order, 0), mask


def check_sizes(**sizes: int) -> None:
    """Raises a ValueError that names the first size that is not a whole number from 1."""
    for name, size in sizes.items():
        if not is_whole(size) or size < 1:
            raise ValueError(
                f"{name} must be a whole number of at least 1; received {name}={size!r}."
            )


def check_rotations(rotations: str) -> None:
    """Raises a ValueError for another convention of rotations than there are."""
    if rotations not in ROTATIONS:
        raise ValueError(f"rotations must be one of {ROTATIONS}; received rotations={rotations!r}.")


def check_ways(split: ClassSplit, pool: ClassPool, ways: int) -> None:
    """Raises a ValueError when the split has fewer classes than `ways`."""
    if ways > pool.size:
        raise ValueError(
            f"{ways} ways asked of split {split.name!r}, which has {pool.size} classes to draw "
            f"from. Use at most {pool.size} ways."
        )


def check_images(split: ClassSplit, positions: np.ndarray, need: int) -> None:
    """Raises a ValueError that names the smallest of the classes if it lacks `need` images."""
    counts = np.asarray(split.counts)[positions]
    short = int(np.sum(counts < need))
    if short:
        smallest = positions[np.argmin(counts)]
        others = f"; {short - 1} more of its classes are too small" if short > 1 else ""
        raise ValueError(
            f"class {split.class_names[smallest]!r} of split {split.name!r} has "
            f"{split.counts[smallest]} images, but an episode can need {need} of a class{others}. "
            "Use fewer shots or queries, or leave the class out of the split."
        )
