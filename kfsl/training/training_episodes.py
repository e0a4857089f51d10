"""The episodes that training and validation draw."""

import tensorflow as tf

from data_pipelines import pipeline
from kfsl.experiment import Experiment
from kfsl.training.train_arguments import TrainArguments


def training_episodes(
    experiment: Experiment, arguments: TrainArguments, start: int = 0
) -> tf.data.Dataset:
    """Meta-batches of the split `train`, without end.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.
        start: int. Meta-batches to skip.

    Returns:
        `tf.data.Dataset` of `(episode, query_labels)`.
    """
    return pipeline.episodes(
        experiment.dataset,
        "train",
        experiment.sampler,
        seed=arguments.seed,
        start=start,
        meta_batch=arguments.meta_batch,
        label_level=experiment.label_level,
    )


def has_validation(experiment: Experiment) -> bool:
    """Whether the dataset has classes for validation."""
    return bool(len(experiment.dataset.splits.get("val", ())))


def validation_episodes(
    experiment: Experiment, arguments: TrainArguments
) -> tf.data.Dataset | None:
    """The fixed episodes of the split `val`, each once; None if there are none.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.

    Returns:
        `tf.data.Dataset` of `(episode, query_labels)`, or None.
    """
    if not arguments.validation_episodes or not has_validation(experiment):
        return None
    meta_batch = arguments.validation_batch
    return pipeline.episodes(
        experiment.dataset,
        "val",
        experiment.evaluation_sampler,
        seed=arguments.seed,
        count=arguments.validation_episodes // meta_batch,
        meta_batch=meta_batch,
        label_level=experiment.label_level,
    )
