"""An episode drawn ahead: what cannot work shows before anything is computed."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from data_pipelines import pipeline
from kfsl.episodes import SUPPORT_LABELS, SUPPORT_MASK
from kfsl.experiment import Experiment
from kfsl.learners.base.episode_checks import check_kind, check_several_classes, check_shots
from kfsl.learners.base.learner import Learner
from kfsl.metrics.finite_weights import weight_not_finite


def checked_first_episode(experiment: Experiment, split: str, seed: int) -> dict[str, tf.Tensor]:
    """The first episode of a stream, if the learner can be asked about it.

    Args:
        experiment: `Experiment`.
        split: str.
        seed: int. Of the stream.

    Returns:
        dict of tensors, as the sampler draws it.

    Raises:
        ValueError: if the split lacks classes or images, the learner is made for fewer ways, more
            images or another kind of task, or its weights are not finite.
    """
    learner, sampler = experiment.learner, experiment.evaluation_sampler
    first = sampler(experiment.dataset.split(split), seed, tf.constant(0, tf.int64))
    # Outside of a graph, whose errors bury what they say.
    drawn, _ = pipeline.episode_at(experiment.dataset, split, sampler, seed, 0)
    check_kind(learner, drawn)
    check_ways(learner, first)
    _check_finite(learner)
    return first


def check_ways(learner: Learner, episode: Mapping[str, tf.Tensor]) -> None:
    """Refuses episodes of more classes, or of fewer images, than a learner takes.

    Args:
        learner: `Learner`.
        episode: mapping to tensors whose numbers can be read.

    Raises:
        ValueError: naming what it takes and what was drawn.
    """
    if SUPPORT_LABELS not in episode:
        return
    check_several_classes(episode[SUPPORT_LABELS])
    ways = int(episode[SUPPORT_LABELS].numpy().max()) + 1
    rows, mask = (
        None if values is None else np.reshape(values, (-1, values.shape[-1]))
        for values in (episode[SUPPORT_LABELS], episode.get(SUPPORT_MASK))
    )
    check_shots(rows, mask, learner.smallest_shots, type(learner).__name__)
    if learner.ways is None or ways == learner.ways:
        return
    if ways > learner.ways or not learner.takes_fewer_ways:
        most = "at most " if learner.takes_fewer_ways else ""
        raise ValueError(
            f"{type(learner).__name__} is made for {learner.ways} ways and the episodes have "
            f"{ways}: draw episodes of {most}{learner.ways} ways, or train for {ways}."
        )


def _check_finite(learner: Learner) -> None:
    found = weight_not_finite(learner)
    if found is not None:
        raise ValueError(
            f"The weight {found} is not finite: training diverged, or the file is damaged. Train "
            "with a smaller learning rate."
        )
