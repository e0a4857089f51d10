"""Base classes in an evaluation: held-out images of what a learner was trained on."""

import dataclasses
import functools

import tensorflow as tf

from data_pipelines.dataset import BASE_TEST
from data_pipelines.samplers import base_batch
from kfsl.experiment import Experiment

#: Images of a batch that is asked about at once.
BATCH = 100


def asked_alone(experiment: Experiment) -> Experiment:
    """The experiment, its evaluation drawing batches of base classes.

    Args:
        experiment: `Experiment`.

    Returns:
        `Experiment`, of the same learner and data.

    Raises:
        ValueError: if no images of base classes are held out.
    """
    size = min(BATCH, experiment.dataset.split(BASE_TEST).num_images)
    return dataclasses.replace(
        experiment, evaluation_sampler=functools.partial(base_batch, batch_size=size)
    )


def queries(experiment: Experiment, split: str) -> int:
    """As many queries of base classes as an episode has of its own, where there are as many.

    Args:
        experiment: `Experiment`.
        split: str.

    Returns:
        int.

    Raises:
        ValueError: if no images of base classes are held out.
    """
    held_out = experiment.dataset.split(BASE_TEST).num_images
    classes = experiment.dataset.split(split)
    first = experiment.evaluation_sampler(classes, 0, tf.constant(0, tf.int64))
    return min(len(first["query_indices"]), held_out)
