"""What STANet looks at: spatial attention over the images, task attention beneath them."""

from collections.abc import Sequence
from typing import Any

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
from kfsl.figures.images import OTHER, RIGHT, WRONG, draw_image
from kfsl.figures.text import printable

SPATIAL = ("spatial_attention_query", "spatial_attention_support")


def attention_figure(
    learner: Any,
    episode: dict[str, Any],
    query_labels: Any = None,
    class_names: Sequence[str] | None = None,
    *,
    query: int = 0,
    columns: int = 10,
) -> Figure:
    """Draws one query and its support set with the attention of every layer.

    The first row has the query and the support images, their classes and the predicted scores.
    Each further row has one layer: spatial attention laid over the images, and beneath them the
    task attention `a_t` that each support image receives. Colours go from 0 to the row's largest
    value. The query and the supports of its true class are framed in green; the predicted class's
    score is bold, green where right and red where wrong.

    With more supports than columns, each class shows those with most task attention; then the
    values of a row do not sum to 1.

    Args:
        learner: `STANet`, or any learner whose outputs have its three attentions.
        episode: dict of arrays; the first of the meta-batch is drawn.
        query_labels: int array `[B, Q]`, or None where the true class is not known.
        class_names: sequence of str. Indexed by the episode's `support_classes`, or by its labels
            where it has none; None writes the labels.
        query: int. Which query image. Defaults to `0`.
        columns: int. Most support images to draw, but at least one a class. Defaults to `10`.

    Returns:
        `matplotlib.figure.Figure`; `figure_to_rgb` renders it.

    Raises:
        ValueError: the learner's outputs have no attention, the query is not in the episode, or
            a class has no name.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), figure 4.

    Example:
    ```python
    from kfsl.figures.attention import attention_figure
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.stanet import STANet

    episode, labels = EpisodeSpec(3, 1, 2, (28, 28, 1)).random_episode()
    learner = STANet(Conv4(image_shape=(28, 28, 1), filters=8, num_pools=2), ways=3)
    figure = attention_figure(learner, episode, labels, list("abcdef"))
    assert len(figure.axes) == 4 * 4
    ```
    """
    first = _one_query(episode, query)
    outputs = learner(first, training=False)
    if SPATIAL[0] not in outputs:
        raise ValueError(
            f"{type(learner).__name__} has no attention to draw: its outputs are "
            f"{sorted(outputs)}. Use a STANet."
        )
    on_query, on_support, on_task = (
        np.asarray(outputs[name])[0, :, 0].astype("float64")
        for name in (*SPATIAL, "task_attention")
    )
    scores = _softmax(np.asarray(outputs["logits"])[0, 0].astype("float64"))
    truth = None if query_labels is None else int(np.asarray(query_labels)[0, query])
    real, labels = _real(first), first[SUPPORT_LABELS][0]
    shown = _chosen(labels, real, on_task.mean(0), columns)
    names = _names(first, len(scores), class_names)
    images = [first[QUERY_IMAGES][0, 0], *first[SUPPORT_IMAGES][0][shown]]

    figure, grid = _grid(rows=1 + len(on_task), columns=len(images))
    _draw_images(grid[0], images)
    _title_images(grid[0], scores, names, labels[shown], truth)
    for layer, row in enumerate(grid[1:]):
        maps = [on_query[layer], *on_support[layer][shown]]
        _draw_attention(row, images, maps)
        row[0].set_ylabel(f"layer {layer + 1}\nlargest {np.max(maps):.2f}", fontsize=8)
        for axes, value in zip(row[1:], on_task[layer][shown], strict=True):
            axes.set_xlabel(f"$a_t$ = {value:.2f}", fontsize=8, labelpad=3)
    _frame(grid, labels[shown], truth)
    if len(shown) < real.sum():
        grid[-1][0].set_xlabel(f"{len(shown)} of {real.sum()} supports", fontsize=8, labelpad=3)
    return figure


def _one_query(episode: dict[str, Any], query: int) -> dict[str, np.ndarray]:
    """The first episode of a meta-batch with one of its queries."""
    first = {key: np.asarray(value)[:1] for key, value in episode.items()}
    queries = first[QUERY_IMAGES].shape[1]
    if not 0 <= query < queries:
        raise ValueError(f"The episode has queries 0 to {queries - 1}; received query={query}.")
    return {
        key: value[:, query : query + 1] if key.startswith("query") else value
        for key, value in first.items()
    }


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    width, height = 1.35 * columns + 0.7, 1.55 * rows + 0.6
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.08 / width, bottom=0.3 / height, top=1 - 0.55 / height,
        wspace=0.1, hspace=0.25,
    )  # fmt: skip
    return figure, grid


def _draw_images(row: Sequence[Axes], images: Sequence[np.ndarray]) -> None:
    for axes, image in zip(row, images, strict=True):
        draw_image(axes, image)


def _title_images(
    row: Sequence[Axes],
    scores: np.ndarray,
    names: Sequence[str],
    labels: np.ndarray,
    truth: int | None,
) -> None:
    query = "query" if truth is None else f"query\n{names[truth]}"
    row[0].set_title(query, fontsize=8, parse_math=False)
    row[0].set_ylabel("images and\npredicted scores", fontsize=8)
    predicted = scores.argmax()
    color = "black" if truth is None else RIGHT if predicted == truth else WRONG
    for axes, label in zip(row[1:], labels, strict=True):
        style = {"fontweight": "bold", "color": color} if label == predicted else {}
        title = f"{names[label]}\n{scores[label]:.2f}"
        axes.set_title(title, fontsize=8, parse_math=False, **style)


def _draw_attention(
    row: Sequence[Axes], images: Sequence[np.ndarray], maps: Sequence[np.ndarray]
) -> None:
    for axes, image, map_ in zip(row, images, maps, strict=True):
        height, width = image.shape[:2]
        # Grey and pale beneath, so that the colours are the attention's alone.
        axes.imshow(128 + image.mean(-1) / 2, cmap="gray", vmin=0, vmax=255)
        axes.imshow(
            map_,
            cmap="inferno",
            vmin=0,
            vmax=np.max(maps),
            alpha=0.6,
            interpolation="bilinear",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )


def _frame(grid: np.ndarray, labels: np.ndarray, truth: int | None) -> None:
    right = np.concatenate([[truth is not None], labels == truth])
    for row in grid:
        for axes, is_right in zip(row, right, strict=True):
            for spine in axes.spines.values():
                spine.set(color=RIGHT if is_right else OTHER, linewidth=3 if is_right else 0.5)


def _real(episode: dict[str, np.ndarray]) -> np.ndarray:
    """Which supports are no padding, `[S]`."""
    mask = episode.get(SUPPORT_MASK)
    return np.ones(episode[SUPPORT_LABELS].shape[1], bool) if mask is None else mask[0] > 0


def _chosen(labels: np.ndarray, real: np.ndarray, weight: np.ndarray, columns: int) -> np.ndarray:
    """Support images to draw, by label: all, or those of each class with most attention."""
    present = np.unique(labels[real])
    each = len(labels) if real.sum() <= columns else max(1, columns // len(present))
    chosen = []
    for label in present:
        members = np.flatnonzero(real & (labels == label))
        most = members[np.argsort(-weight[members], kind="stable")[:each]]
        chosen.extend(np.sort(most))
    return np.array(chosen)


def _names(
    episode: dict[str, np.ndarray], ways: int, class_names: Sequence[str] | None
) -> list[str]:
    """The name of each label of the episode."""
    if class_names is None:
        return [f"class {label}" for label in range(ways)]
    ids = np.arange(ways)
    if SUPPORT_CLASSES in episode:
        real = _real(episode)
        labels = episode[SUPPORT_LABELS][0, real]
        ids[labels] = episode[SUPPORT_CLASSES][0, real]
    if ids.max() >= len(class_names):
        raise ValueError(
            f"The episode has class {ids.max()}; received names of {len(class_names)} classes."
        )
    return [printable(class_names[i], width=16) for i in ids]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()
