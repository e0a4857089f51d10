"""A sampler of episodes that ask about other classes too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_images,
    check_sizes,
    class_pool,
    draw_images,
    positions_in_split,
    random_order,
    stream_seed,
    substreams,
    table,
)
from data_pipelines.samplers.fixed_episode import fixed_episode

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit

#: Label of a query that is of none of an episode's classes.
UNKNOWN = -1
#: Classes that an episode asks about besides its own, where there are as many.
UNKNOWN_WAYS = 5
#: Episodes that are drawn, for each mode of a mixture, to see which modes a sampler draws from.
EPISODES_OF_A_MODE = 4


def open_set_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    known: Callable[..., dict[str, tf.Tensor]] = fixed_episode,
    unknown_ways: int | None = None,
    unknown_queries: int | None = None,
    rotations: str = "class",
) -> dict[str, tf.Tensor]:
    """Draws another sampler's episode, and queries of classes that it does not have.

    The episode is bit for bit the one that `known` draws, so what a learner reaches on its own
    classes is what it reaches without the others. These are drawn uniformly among the rest of
    the split; no turned copy of a class of the episode is among them, and of a mixture they are
    of the episode's mode.

    Args:
        split: `ClassSplit`. The classes to draw from.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        known: sampler, `(split, seed, index) -> dict`, of the episode itself.
        unknown_ways: int or None. Other classes; None: 5, or as many as an episode of as many ways
            as the first leaves in the smallest mode that is drawn from, if those are fewer.
        unknown_queries: int or None. Queries of each of them; None: as many as a class of the
            first episode has, on average.
        rotations: str. As in `fixed_episode`, of the other classes; bind what the episode has.

    Returns:
        dict of tensors as `known` gives it; the queries of other classes stand behind its own and
        have the label -1.

    Raises:
        ValueError: as `known`, if too few classes or images are left, or if `known` draws
            functions, batches of base classes, or images that it transforms.

    Reference:
        [Liu et al., 2020](https://arxiv.org/abs/2005.13713), section 3: as many queries of 5
        unknown classes as of 5 known ones.

    Example:
    ```python
    import functools
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import fixed_episode, open_set_episode

    split = ClassSplit(
        name="test", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("Latin",),
    )
    known = functools.partial(fixed_episode, ways=3, queries=1)
    episode = open_set_episode(split, 0, 7, known=known, unknown_ways=2, unknown_queries=1)
    assert episode["query_labels"].numpy().tolist() == [0, 1, 2, -1, -1]
    assert not set(episode["query_class_ids"][3:].numpy()) & set(
        episode["support_class_ids"].numpy()
    )
    ```
    """
    drawn = known(split, seed, index)
    _check_kind(drawn)
    pool = class_pool(split, rotations)
    ways, queries = _sizes(split, seed, known, pool.positions)
    unknown_ways = ways if unknown_ways is None else unknown_ways
    unknown_queries = queries if unknown_queries is None else unknown_queries
    check_sizes(unknown_ways=unknown_ways, unknown_queries=unknown_queries)
    check_images(split, pool.positions, unknown_queries)
    class_seed, image_seed, rotation_seed = substreams(
        stream_seed(split, seed, index, "unknown queries"), 3
    )
    other = _others(split, pool.positions, drawn)
    enough = _enough(split, other, unknown_ways)
    with tf.control_dependencies(enough):
        chosen = random_order(class_seed, [pool.size], unknown_ways, valid=other)
    class_ids = positions_in_split(pool, chosen, rotation_seed)
    rows = draw_images(split, image_seed, class_ids, unknown_queries)
    total = unknown_ways * unknown_queries
    added = {
        "query_indices": tf.reshape(rows, [-1]),
        "query_labels": tf.fill([total], UNKNOWN),
        "query_class_ids": tf.repeat(class_ids, unknown_queries),
    }
    joined = {name: tf.concat([drawn[name], values], axis=0) for name, values in added.items()}
    return {**drawn, **joined}


def classes_left(split: ClassSplit, seed: int, known: Callable, rotations: str = "class") -> int:
    """How many classes an episode leaves at least for queries of none of its classes.

    Args:
        split: `ClassSplit`.
        seed: int.
        known: sampler, `(split, seed, index) -> dict`, whose first episode tells the ways.
        rotations: str. As in `open_set_episode`.

    Returns:
        int. Of a mixture that of the mode that has the fewest, of those it draws from.
    """
    positions = class_pool(split, rotations).positions
    return _least_left(split, seed, known, positions, _first(split, seed, known))


def _first(split: ClassSplit, seed: int, known: Callable) -> dict[str, tf.Tensor]:
    """A sampler's first episode, its numbers at hand even while a pipeline is traced."""
    with tf.init_scope():
        first = known(split, seed, tf.constant(0, tf.int64))
    _check_kind(first)
    return first


def _sizes(split: ClassSplit, seed: int, known: Callable, positions: np.ndarray) -> tuple[int, int]:
    """Unknown classes and queries of each, where nothing is said of them."""
    first = _first(split, seed, known)
    queries = len(first["query_labels"]) // len(np.unique(first["query_labels"]))
    left = _least_left(split, seed, known, positions, first)
    return max(min(UNKNOWN_WAYS, left), 1), queries


def _modes(split: ClassSplit, seed: int, known: Callable) -> list[int]:
    """The modes of a mixture that a sampler's first episodes are of."""
    with tf.init_scope():
        numbers = range(EPISODES_OF_A_MODE * len(split.mode_names))
        drawn = [known(split, seed, tf.constant(number, tf.int64)) for number in numbers]
    return sorted({int(episode["mode"]) for episode in drawn})


def _least_left(
    split: ClassSplit,
    seed: int,
    known: Callable,
    positions: np.ndarray,
    first: dict[str, tf.Tensor],
) -> int:
    """Classes of a pool that are left, in the smallest mode, by the ways of the first episode."""
    upright, ways = _upright(split)[positions], len(np.unique(first["support_labels"]))
    groups = [upright]
    if "mode" in first:
        of_class = np.asarray(split.modes)[positions]
        groups = [upright[of_class == mode] for mode in _modes(split, seed, known)]
    left = []
    for group in groups:
        # The most that so many classes can take away, with their turned copies.
        _, copies = np.unique(group, return_counts=True)
        left.append(int(np.sum(np.sort(copies)[: max(len(copies) - ways, 0)])))
    return min(left)


def _others(split: ClassSplit, positions: np.ndarray, drawn: dict[str, tf.Tensor]) -> tf.Tensor:
    """Which classes of a pool an episode does not have, turned or not: bool `[size]`."""
    upright = _upright(split)
    taken = drawn["support_class_ids"]
    if "support_mask" in drawn:
        taken = tf.boolean_mask(taken, drawn["support_mask"])
    taken = tf.gather(table(upright, "int32"), taken)
    own = table(upright[positions], "int32")
    other = tf.reduce_all(own[:, None] != taken, axis=1)
    if "mode" in drawn:
        other &= table(np.asarray(split.modes)[positions], "int32") == drawn["mode"]
    return other


def _upright(split: ClassSplit) -> np.ndarray:
    """The position of each class's first rotation: turned copies follow one another in a mode."""
    positions = np.arange(len(split.counts))
    modes = np.zeros_like(positions) if split.modes is None else np.asarray(split.modes)
    turns = (split.rotations,) if split.modes is None else split.mode_rotations
    upright = np.empty_like(positions)
    for mode, stored in enumerate(turns):
        members = positions[modes == mode]
        upright[members] = members[np.arange(len(members)) // stored * stored]
    return upright


def _enough(split: ClassSplit, other: tf.Tensor, ways: int) -> list[tf.Operation]:
    """Refuses episodes that leave too few classes: at once, or when one is drawn."""
    found = tf.reduce_sum(tf.cast(other, tf.int32))
    fewer = "fewer, such as open_set_episode.unknown_ways = 1, or " if ways > 1 else ""
    message = (
        f"{ways} unknown classes asked of split {split.name!r}, where an episode leaves fewer. "
        f"Bind {fewer}fewer ways of the episode."
    )
    if tf.executing_eagerly() and int(found) < ways:
        raise ValueError(f"{message} It left {int(found)}.")
    return [tf.debugging.assert_greater_equal(found, ways, message)]


def _check_kind(drawn: dict[str, tf.Tensor]) -> None:
    if "support_class_ids" not in drawn:
        raise ValueError(
            "An open-set episode needs a support set of classes of images, and this sampler draws "
            "none: functions and batches of base classes have no unknown classes."
        )
    if "query_affines" in drawn:
        raise ValueError(
            "Episodes whose queries are transformed cannot ask about other classes. Bind a sampler "
            "of images as they are, or alphabet_episode.affine = 'none'."
        )
