"""The episodes that training and validation draw."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines import pipeline
from data_pipelines.samplers import base_batch
from kfsl.distribution import strategy
from kfsl.episodes import QUERY_IMAGES, SUPPORT_LABELS
from kfsl.experiment import Experiment
from kfsl.learners.base.episode_checks import check_several_classes
from kfsl.training.train_arguments import TrainArguments

#: Images of base classes that are embedded at once.
BASE_BATCH = 50


def check_classes(experiment: Experiment, arguments: TrainArguments) -> None:
    """Refuses to train or validate on episodes of one class, as far as the first ones tell.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.

    Raises:
        ValueError: saying how many classes are expected.
    """
    samplers = {"train": experiment.sampler}
    if arguments.validation_episodes and has_validation(experiment):
        samplers["val"] = experiment.evaluation_sampler
    for split, sampler in samplers.items():
        with strategy.alone():
            classes = experiment.dataset.split(split)
            episode = sampler(classes, arguments.seed, tf.constant(0, tf.int64))
        if SUPPORT_LABELS in episode:
            check_several_classes(episode[SUPPORT_LABELS])


def training_episodes(experiment: Experiment, arguments: TrainArguments, start: int = 0) -> Any:
    """Meta-batches of the split `train`, without end, each replica's part of them.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.
        start: int. Meta-batches to skip.

    Returns:
        `tf.data.Dataset` of `(episode, query_labels)`; of several replicas
        `tf.distribute.DistributedDataset`.
    """
    size = strategy.share(arguments.meta_batch, "train.meta_batch")
    return strategy.distributed(
        lambda replica, replicas: _part(experiment, arguments, size, start, replica, replicas)
    )


def first_episodes(experiment: Experiment, arguments: TrainArguments) -> tuple[Any, Any]:
    """A meta-batch of the size that each replica has.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.

    Returns:
        `(episode, query_labels)`.
    """
    size = strategy.share(arguments.meta_batch, "train.meta_batch")
    with strategy.alone():
        return next(iter(_part(experiment, arguments, size, 0, 0, 1)))


def _part(
    experiment: Experiment,
    arguments: TrainArguments,
    meta_batch: int,
    start: int,
    replica: int,
    replicas: int,
) -> tf.data.Dataset:
    return pipeline.episodes(
        experiment.dataset,
        "train",
        experiment.sampler,
        seed=arguments.seed,
        start=start,
        meta_batch=meta_batch,
        shard_index=replica,
        num_shards=replicas,
        label_level=experiment.label_level,
    )


def base_images(experiment: Experiment, count: int) -> Iterator[tf.Tensor]:
    """Images of the split `train`, drawn without replacement: always the same ones.

    Args:
        experiment: `Experiment`.
        count: int. How many; all, where the split has fewer. A last batch that is not full is
            left out.

    Returns:
        Iterator over batches of raw pixels, `[n, H, W, C]`.
    """
    available = int(np.sum(experiment.dataset.split("train").counts))
    batch_size = min(BASE_BATCH, count, available)
    batches = pipeline.episodes(
        experiment.dataset,
        "train",
        functools.partial(base_batch, batch_size=batch_size),
        count=min(count, available) // batch_size,
    )
    return (episode[QUERY_IMAGES][0] for episode, _ in batches)


def has_validation(experiment: Experiment) -> bool:
    """Whether the dataset has classes for validation."""
    return bool(len(experiment.dataset.splits.get("val", ())))


def validation_episodes(experiment: Experiment, arguments: TrainArguments) -> Any:
    """The fixed episodes of the split `val`, each once; None if there are none.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.

    Returns:
        `tf.data.Dataset` of `(episode, query_labels)`; of several replicas
        `tf.distribute.DistributedDataset`; or None.
    """
    if not arguments.validation_episodes or not has_validation(experiment):
        return None
    episodes = strategy.share(arguments.validation_episodes, "train.validation_episodes")
    meta_batch = arguments.validation_batch(episodes)

    def part(replica: int, replicas: int) -> tf.data.Dataset:
        return pipeline.episodes(
            experiment.dataset,
            "val",
            experiment.evaluation_sampler,
            seed=arguments.seed,
            count=episodes // meta_batch,
            meta_batch=meta_batch,
            shard_index=replica,
            num_shards=replicas,
            label_level=experiment.label_level,
        )

    return strategy.distributed(part)
