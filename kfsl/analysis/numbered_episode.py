"""Looks up one episode of a run by its number."""

from typing import Any

from data_pipelines import pipeline
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.experiment import Experiment


def numbered_episode(
    experiment: Experiment, split: str, index: int, training_seed: int | None = None
) -> tuple[dict[str, Any], Any, tuple[str, ...]]:
    """Episode `index` of a split, as evaluation or training meets it.

    Args:
        experiment: `Experiment`.
        split: str.
        index: int, from 0.
        training_seed: int or None. For the split `train`: the seed that the run trained with;
            its episode is then the one that training drew. Otherwise, and for the other splits,
            it is the one that evaluation draws.

    Returns:
        The episode and its query labels with `B = 1`, and the names of the split's classes.

    Raises:
        ValueError: if the split lacks classes or images, or `index` is negative.
    """
    trained = split == "train" and training_seed is not None
    episode, query_labels = pipeline.episode_at(
        experiment.dataset,
        split,
        experiment.sampler if trained else experiment.evaluation_sampler,
        seed=training_seed if trained else EVALUATION_SEED,
        index=index,
    )
    return episode, query_labels, experiment.dataset.split(split).class_names
