"""Where networks see the classes of images: those they were trained on, and new ones."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compared
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.analysis.request import AnalysisRequest
from kfsl.episodes import SUPPORT_LABELS
from kfsl.figures.class_activation import ActivationColumn, activation_columns, activation_grid
from kfsl.figures.curves import run_names
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.learner import Learner

#: Images of base classes of which some are drawn.
BASE_IMAGES = 64


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    index: int = 0,
    count: int = 12,
) -> Analysis:
    """Draws activation maps over images of base classes and of an episode's.

    Base classes are shown in images that were held out, or in those of the training where none
    were.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs; all see the same images.
        split: str. Which new classes.
        index: int. Number of the episode, and of the batch of base classes, from 0.
        count: int. Images, of which half are of base classes.

    Returns:
        `Analysis`.
    """
    experiment, found = compared(request, compare, split, base_classes=True)
    names = run_names(list(found))
    learners = dict(zip(names, found.values(), strict=True))
    columns = _base_columns(experiment, learners, index, count // 2)
    columns += _new_columns(experiment, learners, split, index, count - len(columns))
    values = {
        "split": split,
        "index": index,
        "runs": dict(zip(names, found, strict=True)),
        "images": [_described(column) for column in columns],
    }
    return Analysis(f"class_activation_{split}_{index}", activation_grid(columns), values)


def _base_columns(
    experiment: Experiment, learners: dict[str, Learner], index: int, count: int
) -> list[ActivationColumn]:
    from data_pipelines import pipeline
    from data_pipelines.dataset import BASE_TEST, TRAIN
    from data_pipelines.samplers import base_batch
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    split = BASE_TEST if experiment.dataset.held_out_images else TRAIN
    classes = experiment.dataset.split(split)
    sampler = functools.partial(base_batch, batch_size=min(BASE_IMAGES, classes.num_images))
    batch, labels = pipeline.episode_at(
        experiment.dataset, split, sampler, seed=EVALUATION_SEED, index=index
    )
    heading = "base classes" if split == BASE_TEST else "base classes (trained on)"
    return activation_columns(
        learners, batch, labels, classes.class_names, columns=count, heading=heading
    )


def _new_columns(
    experiment: Experiment, learners: dict[str, Learner], split: str, index: int, count: int
) -> list[ActivationColumn]:
    episode, labels, class_names = numbered_episode(experiment, split, index)
    support = np.asarray(episode[SUPPORT_LABELS])[0]
    heading = f"new, {support.max() + 1}-way {np.bincount(support).min()}-shot"
    return activation_columns(
        learners, episode, labels, class_names, columns=count, heading=heading
    )


def _described(column: ActivationColumn) -> dict:
    seen = {
        name: {"predicted": one.predicted, "score": one.score, "map": one.map.tolist()}
        for name, one in column.seen.items()
    }
    return {"class": column.name, "group": column.heading or None, "runs": seen}
