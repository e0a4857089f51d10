"""From samplers to batches of images: `tf.data` pipelines over a class store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from data_pipelines.completion import completion
from data_pipelines.samplers.draws import check_sizes
from data_pipelines.streaming import (
    check_not_negative,
    check_shard,
    delivered,
    episode_numbers,
    label_table,
    mapped,
    mapped_images,
)
from kfsl.affine import transformed
from kfsl.argument_checks import told
from kfsl.episodes import (
    MODE,
    QUERY_CLASSES,
    QUERY_IMAGES,
    QUERY_TARGETS,
    SUPPORT_CLASSES,
    SUPPORT_IMAGES,
    SUPPORT_LABELS,
    SUPPORT_MASK,
)

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.function_dataset import FunctionDataset

Sampler = Callable[..., dict[str, tf.Tensor]]


def episodes(
    dataset: FewShotDataset | FunctionDataset,
    split: str,
    sampler: Sampler,
    *,
    seed: int = 0,
    start: int = 0,
    count: int | None = None,
    meta_batch: int = 1,
    shard_index: int = 0,
    num_shards: int = 1,
    label_level: str = "class",
    prefetch: int = 2,
) -> tf.data.Dataset:
    """Streams meta-batches of episodes, in the order of their numbers.

    Which images an episode has depends on `seed`, `split` and its number alone. Episode `i`
    belongs to shard `i % num_shards`; a shard's episodes are grouped in order, `meta_batch` at a
    time. To resume after `n` meta-batches, pass `start=n`.

    Args:
        dataset: `FewShotDataset`, or `FunctionDataset`.
        split: str. Name of the split, such as `"train"`.
        sampler: function `(split, seed, index) -> dict`, such as
            `data_pipelines.samplers.fixed_episode` with its sizes bound by gin or
            `functools.partial`.
        seed: int. Within 64 bits.
        start: int. Meta-batches (of this shard) to skip; skipping costs nothing.
        count: int or None. Meta-batches to give; without end when None.
        meta_batch: int. Episodes per element, the axis `B`.
        shard_index: int, from 0. This worker.
        num_shards: int. Workers in all.
        label_level: str. Whether `support_classes` and `query_classes` name classes or
            superclasses of the split: `"class"` or `"superclass"`.
        prefetch: int. Meta-batches made ahead, on the GPU if there is one; 0 for none.

    Returns:
        `tf.data.Dataset` of `(episode, query_labels)` with static shapes, the episode dict as
        `kfsl.episodes.EpisodeSpec` describes it: uint8 images `[B, S, H, W, C]` and
        `[B, Q, H, W, C]`, `support_labels`, `support_classes`, `query_classes`, and
        `support_mask` if the sampler pads; `query_labels` int32 `[B, Q]`. Batches of base
        classes have queries alone, and labels at the chosen level. Functions have
        `support_inputs`, `support_targets` and `query_inputs`, and targets `[B, Q, width]`.

    Raises:
        ValueError: if an argument is out of range, the sampler asks for more than the split
            has, or it draws episodes of a mixture without saying of which mode.

    Example:
    ```python
    import functools
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.pipeline import episodes
    from data_pipelines.samplers import fixed_episode

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass(name, "letters", 4) for name in "abc"]
        images = [(i, np.full((8, 8, 1), i, "uint8")) for i in range(3) for _ in range(4)]
        write_class_store(f"{folder}/letters", classes, images, image_shape=(8, 8, 1))
        letters = FewShotDataset(
            "letters", ClassStore.open(f"{folder}/letters"), {"train": [0, 1, 2]}
        )
        sampler = functools.partial(fixed_episode, ways=2, shots=1, queries=3)
        for episode, query_labels in episodes(letters, "train", sampler, count=2, meta_batch=4):
            assert episode["support_images"].shape == (4, 2, 8, 8, 1)
            assert query_labels.shape == (4, 6)
    ```
    """
    check_sizes(meta_batch=meta_batch)
    check_shard(shard_index, num_shards)
    classes = dataset.split(split)
    images = None if dataset.store is None else mapped_images(dataset)
    level = label_table(classes, label_level)

    def sample(number: tf.Tensor) -> dict[str, tf.Tensor]:
        return _drawn(sampler, classes, seed, number * num_shards + shard_index)

    def gather(draw: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return _episode(None if images is None else images.read_value(), level, draw)

    numbers = episode_numbers(start, count, meta_batch)
    drawn = mapped(numbers, sample).batch(meta_batch, drop_remainder=True)
    return delivered(mapped(drawn, gather), prefetch)


def episode_at(
    dataset: FewShotDataset | FunctionDataset,
    split: str,
    sampler: Sampler,
    seed: int,
    index: int,
    *,
    label_level: str = "class",
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Looks up one episode by its number.

    Args:
        dataset: `FewShotDataset`, or `FunctionDataset`.
        split: str. Name of the split.
        sampler: function `(split, seed, index) -> dict`, as `episodes` takes it.
        seed: int. The seed of the stream.
        index: int, from 0. Number of the episode in the stream.
        label_level: str. As in `episodes`.

    Returns:
        `(episode, query_labels)` as `episodes` gives them, with `B = 1`.

    Raises:
        ValueError: as `episodes`, and for a negative `index`.

    Example:
    ```python
    import functools
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.pipeline import episode_at
    from data_pipelines.samplers import fixed_episode

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass(name, "letters", 4) for name in "abc"]
        images = [(i, np.full((8, 8, 1), i, "uint8")) for i in range(3) for _ in range(4)]
        write_class_store(f"{folder}/letters", classes, images, image_shape=(8, 8, 1))
        letters = FewShotDataset(
            "letters", ClassStore.open(f"{folder}/letters"), {"train": [0, 1, 2]}
        )
        sampler = functools.partial(fixed_episode, ways=2, shots=1, queries=3)
        episode, query_labels = episode_at(letters, "train", sampler, seed=0, index=41)
        assert episode["query_images"].shape == (1, 6, 8, 8, 1)
    ```
    """
    check_not_negative(index=index)
    classes = dataset.split(split)
    draw = _drawn(sampler, classes, seed, tf.constant(index, tf.int64))
    draw = {name: tensor[None] for name, tensor in draw.items()}
    images = None if dataset.store is None else dataset.store.tensor()
    return _episode(images, label_table(classes, label_level), draw)


def _drawn(
    sampler: Sampler, classes: ClassSplit, seed: int, index: tf.Tensor
) -> dict[str, tf.Tensor]:
    """What a sampler draws; of a mixture, episodes of one mode alone.

    A sampler that knows no modes sets classes of several datasets against one another, and a
    character against its own rotation, in episodes that look like any others.
    """
    draw = sampler(classes, seed, index)
    # Without a support set, a batch of base classes means the classes of all modes; and a single
    # image whose pixels are drawn is of one mode in any case.
    if classes.modes is None or "support_class_ids" not in draw or MODE in draw:
        return draw
    while isinstance(sampler, functools.partial):
        sampler = sampler.func
    raise ValueError(
        f"{told(sampler)} draws episodes without a mode, and split {classes.name!r} is of a "
        f"mixture of {', '.join(classes.mode_names)}, whose episodes are of one mode each. Use "
        "mixture_episode: Experiment.sampler = @mixture_episode, and so evaluation_sampler if it "
        "is bound; mixture_episode.modes names the modes to draw from."
    )


def _episode(
    images: tf.Tensor | None, level: tf.Tensor | None, draw: dict[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The drawn episodes: of functions their numbers, of classes their images."""
    if QUERY_TARGETS in draw:
        return {name: draw[name] for name in draw if name != QUERY_TARGETS}, draw[QUERY_TARGETS]
    if images is None:
        raise ValueError(
            "This sampler draws images, and functions have none: bind the sampler of these "
            "functions, such as Experiment.sampler = @sinusoid_episode."
        )
    if "support_points" in draw:
        return completion(images, draw)
    return _image_episode(images, level, draw)


def _image_episode(
    images: tf.Tensor, level: tf.Tensor | None, draw: dict[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Fetches the images of drawn episodes: one gather per set, so neither is copied again."""
    episode = {QUERY_IMAGES: tf.gather(images, draw["query_indices"])}
    episode[QUERY_CLASSES] = _at_level(level, draw["query_class_ids"])
    if "support_indices" not in draw:
        # Base classes: what an image is among all classes of the split is its label.
        return episode, episode[QUERY_CLASSES]
    episode[SUPPORT_IMAGES] = tf.gather(images, draw["support_indices"])
    episode[SUPPORT_LABELS] = draw["support_labels"]
    episode[SUPPORT_CLASSES] = _at_level(level, draw["support_class_ids"])
    for name in (SUPPORT_MASK, MODE):
        if name in draw:
            episode[name] = draw[name]
    for name, affines in ((SUPPORT_IMAGES, "support_affines"), (QUERY_IMAGES, "query_affines")):
        if affines not in draw:
            continue
        if images.dtype != tf.uint8:
            raise ValueError(
                "Episodes whose images are transformed cannot be made of features that were kept. "
                "Evaluate with feature_memory = 0."
            )
        episode[name] = transformed(episode[name], draw[affines])
    return episode, draw["query_labels"]


def _at_level(level: tf.Tensor | None, class_ids: tf.Tensor) -> tf.Tensor:
    return class_ids if level is None else tf.gather(level, class_ids)
