"""The multi-shot protocol: one task is one alphabet, with all the drawings there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import (
    check_images,
    check_sizes,
    class_pool,
    padding_last,
    random_order,
    stream_seed,
    substreams,
    table,
    uniform_integers,
)
from kfsl.affine import random_affines
from kfsl.argument_checks import check_flag

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit

#: Which images of an episode an affine transform may move.
AFFINE = ("none", "queries", "all")


def alphabet_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    ways: int = 20,
    shots: int = 15,
    queries: int = 5,
    min_shots: int | None = None,
    fixed_queries: bool = True,
    affine: str = "none",
    rotations: str = "none",
) -> dict[str, tf.Tensor]:
    """Draws an episode from one superclass, its queries always the same held-out images.

    The first `queries` images of a class, in the order of their files, are held out; the support
    set is drawn from the others. Learners that train on the queries see more of a superclass
    with `fixed_queries=False`, which draws them too. Superclasses of fewer than `ways` classes
    are left out; the others are dealt out in a random order, all of them before any of them
    again, so that as many episodes as there are superclasses have each once.

    The number of images per class that P. Simon et al. give for their class imbalance, 1 to 25,
    cannot be meant literally: Omniglot has 20 drawings of a character. `min_shots=1` draws 1 to
    `shots` for each class.

    Args:
        split: `ClassSplit`. Such as Omniglot's under `load_dataset.split = 'leap'`.
        seed: int. Within 64 bits.
        index: int64 scalar. The number of the episode.
        ways: int. Classes in the episode, drawn where the superclass has more.
        shots: int. Support images per class; the most, if `min_shots` is given.
        queries: int. Held-out images per class.
        min_shots: int or None. Each class has a number of support images of its own, uniform
            from here to `shots`.
        fixed_queries: bool. Whether the first images of a class are its queries, in all
            episodes; otherwise they are drawn among those that are not in the support set.
        affine: str. Which images are rotated by any angle, shifted by up to a fifth of their
            side, and scaled by 0.8 to 1.2, over white paper: `"none"`, `"all"`, or `"queries"`,
            for learners that transform the support set anew in each inner step.
        rotations: str. See `data_pipelines.samplers.fixed_episode`.

    Returns:
        dict of tensors as `data_pipelines.samplers.fixed_episode` says, `S = ways * shots` and
        `Q = ways * queries`, sorted by label. With `min_shots` there is a `support_mask`, True
        for the images drawn, which come first; the padding has label 0 and repeats the first
        image. With `affine` there are `query_affines`, and perhaps `support_affines`,
        float32 `[Q, 4]` and `[S, 4]`, which `data_pipelines.pipeline` carries out.

    Raises:
        ValueError: if no superclass has enough classes, or a class too few images.

    Reference:
        [Flennerhag et al., 2019](https://arxiv.org/abs/1812.01054), multi-shot Omniglot;
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 5.

    Example:
    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.samplers import alphabet_episode

    split = ClassSplit(
        name="train", class_names=tuple("abcdef"), counts=np.full(6, 20),
        offsets=np.arange(6) * 20, superclasses=np.array([0, 0, 0, 1, 1, 1], "int32"),
        superclass_names=("Greek", "Latin"),
    )
    episode = alphabet_episode(split, 0, 7, ways=3, shots=15, queries=5)
    assert episode["support_indices"].shape == (45,)
    assert set(episode["query_indices"].numpy() % 20) == {0, 1, 2, 3, 4}
    ```
    """
    least = shots if min_shots is None else min_shots
    check_sizes(ways=ways, shots=shots, queries=queries, min_shots=least)
    check_flag("fixed_queries", fixed_queries)
    if min_shots is not None and min_shots > shots:
        raise ValueError(f"min_shots={min_shots} must not exceed shots={shots}.")
    if affine not in AFFINE:
        raise ValueError(f"affine must be one of {', '.join(AFFINE)}; received affine={affine!r}.")
    if rotations == "episode":
        raise ValueError("rotations='episode' is not for alphabets. Use 'none' or 'class'.")
    pool = class_pool(split, rotations)
    alphabets = np.asarray(split.superclasses, "int32")[pool.positions]
    eligible = np.flatnonzero(np.bincount(alphabets) >= ways).astype("int32")
    if not eligible.size:
        raise ValueError(
            f"{ways} ways asked within one superclass of split {split.name!r}, whose largest has "
            f"{np.max(np.bincount(alphabets))} classes. Use fewer ways."
        )
    check_images(split, pool.positions[np.isin(alphabets, eligible)], shots + queries)
    alphabet = _dealt_out(split, seed, index, eligible)
    class_seed, *seeds = substreams(stream_seed(split, seed, index, purpose="alphabets"), 5)
    places = random_order(class_seed, [pool.size], ways, valid=alphabets == alphabet)
    class_ids = tf.cast(tf.gather(pool.positions, places), tf.int32)
    episode = _images(split, seeds[0], class_ids, shots, queries, fixed_queries)
    if min_shots is not None:
        episode = _imbalanced(episode, seeds[1], ways, shots, min_shots)
    if affine == "all":
        episode["support_affines"] = random_affines(seeds[2], ways * shots)
    if affine in ("all", "queries"):
        episode["query_affines"] = random_affines(seeds[3], ways * queries)
    return episode


def _dealt_out(
    split: ClassSplit, seed: int, index: int | tf.Tensor, eligible: np.ndarray
) -> tf.Tensor:
    """The superclass of an episode: a permutation of them all for each round."""
    index = tf.cast(index, tf.int64)
    round_seed = stream_seed(split, seed, index // len(eligible), purpose="alphabet order")
    order = random_order(round_seed, [len(eligible)], len(eligible))
    return tf.gather(eligible, order[index % len(eligible)])


def _images(
    split: ClassSplit,
    seed: tf.Tensor,
    class_ids: tf.Tensor,
    shots: int,
    queries: int,
    fixed_queries: bool,
) -> dict[str, tf.Tensor]:
    ways = class_ids.shape[0]
    held_out = queries if fixed_queries else 0
    drawn = shots + queries - held_out
    first = tf.gather(table(split.offsets, "int64"), class_ids)[:, None]
    spare = tf.gather(table(split.counts, "int32"), class_ids) - held_out
    width = int(np.max(split.counts)) - held_out
    picks = random_order(seed, [ways, width], drawn, valid=tf.range(width) < spare[:, None])
    picks = first + held_out + tf.cast(picks, tf.int64)
    fixed = first + np.arange(queries, dtype="int64")
    support_labels = np.repeat(np.arange(ways, dtype="int32"), shots)
    query_labels = np.repeat(np.arange(ways, dtype="int32"), queries)
    return {
        "support_indices": tf.reshape(picks[:, :shots], [-1]),
        "support_labels": tf.constant(support_labels),
        "support_class_ids": tf.gather(class_ids, support_labels),
        "query_indices": tf.reshape(fixed if fixed_queries else picks[:, shots:], [-1]),
        "query_labels": tf.constant(query_labels),
        "query_class_ids": tf.gather(class_ids, query_labels),
    }


def _imbalanced(
    episode: dict[str, tf.Tensor], seed: tf.Tensor, ways: int, shots: int, min_shots: int
) -> dict[str, tf.Tensor]:
    """Keeps a random number of each class's support images, in front of the padding."""
    kept = uniform_integers(seed, [ways], min_shots, shots)
    order, mask = padding_last(tf.reshape(tf.range(shots) < kept[:, None], [-1]))
    support = {
        name: tf.gather(episode[name], order)
        for name in ("support_indices", "support_labels", "support_class_ids")
    }
    return {**episode, **support, "support_mask": mask}
