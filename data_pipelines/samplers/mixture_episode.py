"""A sampler of episodes from a mixture of datasets, each episode from one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    ALGORITHM,
    check_images,
    check_sizes,
    class_pool,
    positions_in_split,
    random_order,
    stream_seed,
    substreams,
    uniform_integers,
)
from data_pipelines.samplers.fixed_sizes import images_per_class, sized_episode

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit


def mixture_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    weights: Sequence[float] | None = None,
    modes: Sequence[str] | None = None,
    rotations: str = "episode",
) -> dict[str, tf.Tensor]:
    """Draws an episode whose classes are all of one dataset of a mixture, its mode.

    Episodes that follow one another go through the modes in turn, from one that the seed draws:
    of any ten in a row from five modes two are of each. With `weights` each episode draws its
    mode by itself.

    Args:
        split: `ClassSplit`. Of a mixture.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        ways: int. Classes in the episode.
        shots: int. Support images per class.
        queries: int. Query images per class.
        weights: sequence of float or None. How often each mode is drawn, as shares of their sum;
            None: all alike, in turn.
        modes: sequence of str or None. The modes to draw from, others are left out; None: all.
        rotations: str. For modes with stored rotations. `"episode"`: a class takes one random
            rotation in the whole episode. `"class"`: each rotation is a class of its own.
            `"none"`: upright images only.

    Returns:
        dict of tensors as `fixed_episode` gives it, and `mode`, int32: which of the mixture's
        datasets, by its place in `ClassSplit.mode_names`.

    Raises:
        ValueError: if the split is of no mixture, a mode does not exist or has fewer classes than
            `ways`, a class too few images, or for weights that are none.

    Reference:
        Abdollahzadeh et al., "Revisit Multimodal Meta-Learning through the Lens of Multi-Task
        Learning" (NeurIPS 2021): tasks of a meta-batch go through the datasets in turn.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import mixture_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.zeros(6, "int32"), superclass_names=("all",),
        modes=np.array([0, 0, 0, 1, 1, 1], "int32"), mode_names=("photos", "drawings"),
        mode_rotations=(1, 1),
    )
    episodes = [mixture_episode(split, 0, index, ways=3) for index in range(2)]
    assert {int(episode["mode"]) for episode in episodes} == {0, 1}
    for episode in episodes:
        assert np.all(split.modes[episode["support_class_ids"]] == episode["mode"])
    ```
    """
    check_sizes(ways=ways, shots=shots, queries=queries)
    drawn_from = _chosen_modes(split, modes)
    pool = class_pool(split, rotations)
    positions = pool.positions
    modes_of = np.asarray(split.modes)[positions]
    _check_classes(split, modes_of, drawn_from, ways)
    can_occur = positions[np.isin(modes_of, drawn_from)]
    check_images(split, can_occur, images_per_class(shots, queries, None))
    seeds = substreams(stream_seed(split, seed, index), 4)
    mode_seed, class_seed, image_seed, rotation_seed = seeds
    if weights is None:
        first = uniform_integers(
            stream_seed(split, seed, 0, "first mode"), [], 0, len(drawn_from) - 1
        )
        place = (tf.cast(index, tf.int64) + tf.cast(first, tf.int64)) % len(drawn_from)
    else:
        place = _weighted(mode_seed, weights, len(drawn_from))
    mode = tf.gather(drawn_from, place)
    chosen = random_order(class_seed, [pool.size], ways, valid=modes_of == mode)
    class_ids = positions_in_split(pool, chosen, rotation_seed)
    episode = sized_episode(split, class_ids, image_seed, shots, queries)
    return {**episode, "mode": mode}


def _chosen_modes(split: ClassSplit, modes: Sequence[str] | None) -> np.ndarray:
    if split.modes is None:
        raise ValueError(
            f"Split {split.name!r} is of no mixture, so it has no modes. Use fixed_episode, or "
            "prepare a mixture: python -m data_pipelines.prepare --dataset=mixture --parts=..."
        )
    names = list(split.mode_names)
    unknown = [mode for mode in modes or () if mode not in names]
    if unknown or (modes is not None and not len(modes)):
        raise ValueError(
            f"modes={list(modes)} must name some of the mixture's modes, {', '.join(names)}."
        )
    places = range(len(names)) if modes is None else [names.index(mode) for mode in modes]
    return np.array(places, "int32")


def _check_classes(
    split: ClassSplit, modes_of: np.ndarray, drawn_from: np.ndarray, ways: int
) -> None:
    for mode in drawn_from.tolist():
        found = int(np.sum(modes_of == mode))
        if ways > found:
            raise ValueError(
                f"{ways} ways asked of split {split.name!r}, whose mode {split.mode_names[mode]!r} "
                f"has {found} classes to draw from. Use at most {found} ways."
            )


def _weighted(seed: tf.Tensor, weights: Sequence[float], modes: int) -> tf.Tensor:
    shares = np.asarray(weights, "float64")
    if shares.shape != (modes,) or not np.all(shares >= 0) or not 0 < shares.sum() < np.inf:
        raise ValueError(
            f"weights must be {modes} numbers from 0, not all 0, one for each mode; received "
            f"weights={list(weights)}."
        )
    bounds = np.cumsum(shares / shares.sum())[:-1]
    drawn = tf.random.stateless_uniform([], seed, dtype=tf.float64, alg=ALGORITHM)
    return tf.reduce_sum(tf.cast(drawn >= bounds, tf.int32))
