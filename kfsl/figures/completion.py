"""Images that learners completed from some of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS
from kfsl.figures.text import printable

if TYPE_CHECKING:
    import keras

CELL = 1.25  # inches
#: Of pixels that are not given.
UNKNOWN = 0.5
MAX_ROWS = 20


def completion_figure(
    learner: keras.Model | None,
    episode: dict[str, Any],
    query_targets: Any,
    class_names: Sequence[str] = (),
) -> Figure:
    """Draws the images of a meta-batch, a row for each: given pixels, completion, truth.

    Args:
        learner: `Learner` or None, for given pixels and truth alone.
        episode: dict of arrays, as `pixel_episode` makes it.
        query_targets: float array, `[B, H*W, C]`, colours in 0..1.
        class_names: sequence of str. Not needed.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 7.

    Example:
    ```python
    import numpy as np
    from data_pipelines.completion import places_of
    from kfsl.figures.completion import completion_figure

    places, colours = places_of(4, 4)[None], np.random.uniform(size=(1, 16, 3))
    episode = {
        "support_inputs": places[:, :5], "support_targets": colours[:, :5], "query_inputs": places,
    }
    figure = completion_figure(None, episode, colours)
    assert [axes.get_title() for axes in figure.axes] == ["5 given", "truth"]
    ```
    """
    del class_names
    learners = {} if learner is None else {type(learner).__name__: completed(learner, episode)}
    return completions_figure(learners, episode, query_targets)


def completed(learner: keras.Model, episode: dict[str, Any]) -> np.ndarray:
    """What a learner makes of all pixels, `[B, H*W, C]`."""
    return np.asarray(learner(episode, training=False)["predictions"])


def completions_figure(
    completions: Mapping[str, np.ndarray], episode: dict[str, Any], query_targets: Any
) -> Figure:
    """Draws what several learners made of the same images, side by side.

    Args:
        completions: mapping from names to colours, `[B, H*W, C]`.
        episode: dict of arrays, as `pixel_episode` makes it.
        query_targets: float array, `[B, H*W, C]`.

    Returns:
        `matplotlib.figure.Figure`, a row for each image, with the mean squared error below each
        completion.
    """
    targets = np.asarray(query_targets)[:MAX_ROWS]
    inputs, queries = (np.asarray(episode[key]) for key in (SUPPORT_INPUTS, QUERY_INPUTS))
    size = image_size(queries[0])
    given = np.asarray(episode[SUPPORT_TARGETS])
    rows, points = len(targets), inputs.shape[1]
    columns = [(f"{points} given", None), *completions.items(), ("truth", targets)]
    figure = Figure(figsize=(CELL * len(columns), 1.2 * CELL * rows + 0.3), dpi=110)
    panels = figure.subplots(rows, len(columns), squeeze=False)
    for row in range(rows):
        for axes, (name, colours) in zip(panels[row], columns, strict=True):
            image = _given(inputs[row], given[row], size) if colours is None else colours[row]
            _draw(axes, image, size)
            if row == 0:
                axes.set_title(printable(name, 24), fontsize=8)
            if name in completions:
                error = float(np.mean((colours[row] - targets[row]) ** 2))
                axes.set_xlabel(f"{error:.4f}", fontsize=7, labelpad=2)
    figure.subplots_adjust(0.02, 0.06 / rows, 0.98, 1.0 - 0.25 / (1.2 * CELL * rows + 0.3), 0.06)
    return figure


def image_size(places: np.ndarray) -> tuple[int, int]:
    """Height and width of the image whose pixels stand at these places.

    Args:
        places: float array, `[n, 2]`, rows and columns as shares of height and width.

    Returns:
        tuple of two ints.

    Raises:
        ValueError: if the places are not those of all pixels of an image, row by row.
    """
    sizes = [len(np.unique(column)) for column in places.T]
    if len(sizes) != 2 or sizes[0] * sizes[1] != len(places):
        raise ValueError(
            f"These {len(places)} places are not the pixels of an image; draw episodes with "
            "pixel_episode, which asks about all pixels."
        )
    return sizes[0], sizes[1]


def _given(inputs: np.ndarray, targets: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The given pixels, others grey."""
    image = np.full((*size, targets.shape[-1]), UNKNOWN)
    rows, columns = np.round(inputs * np.array(size)).astype(int).T
    image[rows, columns] = targets
    return image


def _draw(axes: Any, colours: np.ndarray, size: tuple[int, int]) -> None:
    image = np.clip(np.reshape(colours, (*size, -1)), 0.0, 1.0)
    if image.shape[-1] == 3:
        axes.imshow(image, interpolation="nearest")
    else:
        axes.imshow(image.mean(-1), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
