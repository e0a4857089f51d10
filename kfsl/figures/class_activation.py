"""Class activation maps: where in an image a network sees its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kfsl.episodes import (
    QUERY_IMAGES,
    SUPPORT_CLASSES,
    SUPPORT_IMAGES,
    SUPPORT_LABELS,
    SUPPORT_MASK,
)
from kfsl.figures.images import RIGHT, WRONG, draw_image
from kfsl.figures.text import printable


class Activation(NamedTuple):
    """What one learner sees in one image.

    Args:
        map: float array `[h, w]`, in 0..1. Of the true class.
        predicted: str. Name of the class that the learner answers.
        score: float. Its probability.
    """

    map: np.ndarray
    predicted: str
    score: float


class ActivationColumn(NamedTuple):
    """An image and what each learner sees in it.

    Args:
        image: uint8 array, `[H, W, C]`.
        name: str. Of its class.
        heading: str. Above the first of a group of images.
        seen: dict from learners' names to `Activation`.
    """

    image: np.ndarray
    name: str
    heading: str
    seen: dict[str, Activation]


def class_activation_figure(
    learner: Any,
    episode: dict[str, Any],
    query_labels: Any,
    class_names: Sequence[str],
    *,
    columns: int = 8,
) -> Figure:
    """Draws queries of the first episode with the activation maps of their classes.

    Args:
        learner: `DenseClassification`, or any learner with `activation_maps`.
        episode: dict of arrays; see `kfsl.episodes.EpisodeSpec`. Without support set its queries
            are of base classes.
        query_labels: int array, `[B, Q]`.
        class_names: sequence of str. All classes of the split.
        columns: int. Most queries to draw. Defaults to `8`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the learner has no activation maps.

    Reference:
        [Lifchitz et al., 2019](https://arxiv.org/abs/1903.05050), figure 3.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.figures.class_activation import class_activation_figure
    from kfsl.learners.dense_classification import DenseClassification

    episode, labels = EpisodeSpec(3, 1, 2, (28, 28, 1)).random_episode(classes=4)
    backbone = Conv4(image_shape=(28, 28, 1), filters=8, num_pools=2)
    learner = DenseClassification(backbone, base_classes=9)
    figure = class_activation_figure(learner, episode, labels, list("abcd"), columns=4)
    assert len(figure.axes) == 2 * 4
    ```
    """
    found = activation_columns({"": learner}, episode, query_labels, class_names, columns=columns)
    return activation_grid(found)


def activation_columns(
    learners: Mapping[str, Any],
    episode: dict[str, Any],
    query_labels: Any,
    class_names: Sequence[str],
    *,
    columns: int,
    heading: str = "",
) -> list[ActivationColumn]:
    """What learners see in queries of the first episode.

    In turn come a query that all answer rightly, one that the first alone does, one that only
    others do, and one that none does, as far as there are such.

    Args:
        learners: mapping from names to learners with `activation_maps`.
        episode: dict of arrays; without support set its queries are of base classes.
        query_labels: int array, `[B, Q]`.
        class_names: sequence of str. All classes of the split.
        columns: int. Most queries.
        heading: str. Above them. Defaults to none.

    Returns:
        list of `ActivationColumn`.

    Raises:
        ValueError: if a learner has no activation maps.
    """
    labels = np.asarray(query_labels)[0]
    names = _names_of_labels(episode, class_names)
    answers = {name: _answers(learner, episode) for name, learner in learners.items()}
    rights = np.array([scores.argmax(-1) == labels for _, scores in answers.values()])
    found = []
    for query in chosen_queries(rights, columns):
        seen = {}
        for name, (maps, scores) in answers.items():
            predicted = int(scores[query].argmax())
            seen[name] = Activation(
                maps[query, :, :, labels[query]], names[predicted], float(scores[query, predicted])
            )
        image = np.asarray(episode[QUERY_IMAGES])[0, query]
        column = ActivationColumn(image, names[labels[query]], "" if found else heading, seen)
        found.append(column)
    return found


def chosen_queries(rights: np.ndarray, count: int) -> list[int]:
    """Queries that show how learners differ; see `activation_columns`.

    Args:
        rights: bool array, `[learners, Q]`.
        count: int. Most of them.

    Returns:
        list of int, in the order of the groups.

    Example:
    ```python
    import numpy as np
    from kfsl.figures.class_activation import chosen_queries

    first, second = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]
    assert chosen_queries(np.array([first, second], bool), 4) == [0, 2, 3, 4]
    ```
    """
    every, first, others = rights.all(0), rights[0], rights[1:].any(0)
    kinds = (every, first & ~every, others & ~first, ~rights.any(0))
    groups = [list(np.flatnonzero(kind)) for kind in kinds]
    taken: list[list[int]] = [[] for _ in groups]
    while sum(map(len, taken)) < count and any(groups):
        for group, chosen in zip(groups, taken, strict=True):
            if group and sum(map(len, taken)) < count:
                chosen.append(int(group.pop(0)))
    return [query for chosen in taken for query in chosen]


def activation_grid(columns: Sequence[ActivationColumn]) -> Figure:
    """Draws images in a row, and beneath them a row for each learner.

    Args:
        columns: sequence of `ActivationColumn`, of the same learners.

    Returns:
        `matplotlib.figure.Figure`. Red is a probability of 1 for the true class; below each map
        stand the answer and its probability, green where it is right.
    """
    learners = list(columns[0].seen)
    rows = 1 + len(learners)
    width, height = 1.35 * len(columns) + 0.7, 1.6 * rows + 0.5
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    figure.subplots_adjust(
        left=0.5 / width, right=1 - 0.08 / width, bottom=0.3 / height, top=1 - 0.55 / height,
        wspace=0.1, hspace=0.28,
    )  # fmt: skip
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, column in zip(grid[0], columns, strict=True):
        draw_image(axes, column.image)
        heading = f"{column.heading}\n" if column.heading else ""
        axes.set_title(f"{heading}{printable(column.name, width=18)}", fontsize=8, parse_math=False)
    for row, learner in zip(grid[1:], learners, strict=True):
        row[0].set_ylabel(printable(learner, width=18), fontsize=7, parse_math=False)
        for axes, column in zip(row, columns, strict=True):
            _draw_map(axes, column.image, column.seen[learner].map)
            _write_answer(axes, column.seen[learner], column.name)
    return figure


def _answers(learner: Any, episode: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Maps `[Q, h, w, N]` and scores `[Q, N]` of the first episode's queries."""
    if not hasattr(learner, "activation_maps"):
        raise ValueError(
            f"{type(learner).__name__} has no class activation maps: they are of learners that "
            "compare each location with each class. Use a DenseClassification."
        )
    first = {key: np.asarray(value)[:1] for key, value in episode.items()}
    if SUPPORT_IMAGES in first:
        support, queries = learner.embed_episode(first, training=False)
        labels, mask = first[SUPPORT_LABELS], first.get(SUPPORT_MASK)
        state = learner.adapt(support, labels, mask)
        logits = learner.infer(state, queries)["logits"]
    else:
        state, queries = None, learner.embed(first[QUERY_IMAGES])
        logits = learner.classify_base(queries)["logits"]
    maps = np.asarray(learner.activation_maps(queries, state), "float64")[0]
    logits = np.asarray(logits, "float64")[0]
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    return maps, scores / scores.sum(-1, keepdims=True)


def _names_of_labels(episode: dict[str, Any], class_names: Sequence[str]) -> list[str]:
    if SUPPORT_LABELS not in episode:
        return list(class_names)
    labels, classes = (np.asarray(episode[key])[0] for key in (SUPPORT_LABELS, SUPPORT_CLASSES))
    names = [""] * (int(labels.max()) + 1)
    for label, index in zip(labels, classes, strict=True):
        names[label] = class_names[index]
    return names


def _draw_map(axes: Axes, image: np.ndarray, map_: np.ndarray) -> None:
    height, width = image.shape[:2]
    axes.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255)
    axes.imshow(
        map_,
        cmap="jet",
        vmin=0,
        vmax=1,
        alpha=0.5,
        interpolation="bilinear",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )


def _write_answer(axes: Axes, seen: Activation, name: str) -> None:
    right = seen.predicted == name
    text = f"{printable(seen.predicted, width=14)} {seen.score:.2f}"
    color = RIGHT if right else WRONG
    axes.set_xlabel(text, fontsize=7, color=color, labelpad=2, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=1.5)
