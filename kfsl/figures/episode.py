"""An episode as a picture: its support images, its queries, and what a learner says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kfsl.episodes import (
    QUERY_IMAGES,
    SUPPORT_CLASSES,
    SUPPORT_IMAGES,
    SUPPORT_LABELS,
    SUPPORT_MASK,
)
from kfsl.figures.images import OTHER, RIGHT, WRONG, draw_image
from kfsl.figures.text import printable

if TYPE_CHECKING:
    import keras

CELL = 0.62  # inches
MAX_SHOTS, MAX_QUERIES = 10, 20


def episode_figure(
    learner: keras.Model | None,
    episode: dict[str, Any],
    query_labels: Any,
    class_names: Sequence[str],
) -> Figure:
    """Draws the first episode of a meta-batch, a row for each class.

    On the left stand the support images of the class, on the right its queries, each with the
    row that the learner predicts and its probability; green frames are right, red ones wrong.

    Args:
        learner: `Learner` or None, for the images alone.
        episode: dict of arrays; see `kfsl.episodes.EpisodeSpec`. `support_classes` index
            `class_names`.
        query_labels: int array, `[B, Q]`.
        class_names: sequence of str. All classes of the split.

    Returns:
        `matplotlib.figure.Figure`.

    Example:
    ```python
    from kfsl.figures.episode import episode_figure
    from kfsl.episodes import EpisodeSpec

    spec = EpisodeSpec(ways=3, shots=1, queries=2, image_shape=(8, 8, 1))
    episode, query_labels = spec.random_episode(classes=4)
    figure = episode_figure(None, episode, query_labels, ("a", "b", "c", "d"))
    assert figure.axes[0].get_title() == "3-way episode"
    ```
    """
    probabilities = None if learner is None else _probabilities(learner, episode)
    episode, query_labels = _first(episode), np.asarray(query_labels)[0]
    support_labels = episode[SUPPORT_LABELS]
    ways = int(support_labels.max()) + 1
    shots = min(int(np.bincount(support_labels).max()), MAX_SHOTS)
    queries = min(int(np.bincount(query_labels, minlength=ways).max()), MAX_QUERIES)

    left = 3.2  # The names of the classes, in cells.
    columns = left + shots + 0.5 + queries
    figure = Figure(figsize=(CELL * (columns + 0.2), CELL * (1.35 * ways + 1.3)), dpi=120)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.1, columns + 0.1), ylim=(1.35 * ways + 0.1, -1.2))
    axes.axis("off")
    axes.set_title(_title(ways, probabilities, query_labels), y=1.0, pad=-14, fontsize=9)
    axes.text(left, -0.12, "support", fontsize=7, color="#555555")
    axes.text(left + shots + 0.5, -0.12, "queries", fontsize=7, color="#555555")
    for row in range(ways):
        top = 1.35 * row
        members = np.flatnonzero(support_labels == row)
        name = class_names[episode[SUPPORT_CLASSES][members[0]]]
        _label(axes, 0.0, top + 0.5, f"{row + 1}  {printable(name)}", fontsize=7, va="center")
        for column, i in enumerate(members[:shots]):
            _image(axes, episode[SUPPORT_IMAGES][i], left + column, top, OTHER)
        for column, q in enumerate(np.flatnonzero(query_labels == row)[:queries]):
            x = left + shots + 0.5 + column
            if probabilities is None:
                _image(axes, episode[QUERY_IMAGES][q], x, top, OTHER)
                continue
            predicted = int(np.argmax(probabilities[q]))
            color = RIGHT if predicted == row else WRONG
            _image(axes, episode[QUERY_IMAGES][q], x, top, color)
            percent = f"{predicted + 1}: {100 * probabilities[q, predicted]:.0f} %"
            _label(axes, x + 0.45, top + 1.13, percent, fontsize=5.5, color=color, ha="center")
    return figure


def _probabilities(learner: keras.Model, episode: dict[str, Any]) -> np.ndarray:
    """Of each query of the first episode, `[Q, ways]`."""
    logits = np.asarray(learner(_first(episode, keep_batch=True), training=False)["logits"])[0]
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _first(episode: dict[str, Any], keep_batch: bool = False) -> dict[str, np.ndarray]:
    """The first episode of a meta-batch; without its padding once the batch axis is gone."""
    first = {name: np.asarray(value)[:1] for name, value in episode.items()}
    if keep_batch:
        return first
    first = {name: value[0] for name, value in first.items()}
    mask = first.pop(SUPPORT_MASK, None)
    if mask is not None:
        support = [name for name in first if name.startswith("support_")]
        first.update({name: first[name][mask] for name in support})
    return first


def _title(ways: int, probabilities: np.ndarray | None, query_labels: np.ndarray) -> str:
    if probabilities is None:
        return f"{ways}-way episode"
    hits = int(np.sum(np.argmax(probabilities, axis=-1) == query_labels))
    return f"{ways}-way episode: {hits} of {len(query_labels)} queries right"


def _image(axes: Axes, image: np.ndarray, x: float, y: float, color: str) -> None:
    extent = (x, x + 0.9, y + 0.9, y)
    draw_image(axes, image, extent=extent, aspect="auto", interpolation="nearest")
    axes.add_patch(Rectangle((x, y), 0.9, 0.9, fill=False, edgecolor=color, linewidth=1.6))


def _label(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    # A dollar sign in a class name is no formula.
    axes.text(x, y, text, parse_math=False, **style)
