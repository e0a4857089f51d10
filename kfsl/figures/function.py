"""A function of one number that a learner found from some of its points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS
from kfsl.figures.curves import COLORS

if TYPE_CHECKING:
    import keras

PLACES = 200


def function_figure(
    learner: keras.Model | None,
    episode: dict[str, Any],
    query_targets: Any,
    class_names: Sequence[str] = (),
) -> Figure:
    """Draws the first task of a meta-batch: given points, those that are asked, and the answer.

    Of learners that take gradient steps the answer without any is drawn too.

    Args:
        learner: `Learner` or None, for the points alone.
        episode: dict of arrays, of functions of one number.
        query_targets: float array, `[B, Q, width]`; the first column is drawn.
        class_names: sequence of str. Not needed.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: for functions of several numbers.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), figure 2.

    Example:
    ```python
    from kfsl.figures.function import function_figure
    from kfsl.objectives.regression_spec import RegressionSpec

    episode, targets = RegressionSpec(points=5, queries=20, input_shape=(1,)).random_episode()
    figure = function_figure(None, episode, targets)
    assert figure.axes[0].get_title() == "5 points given"
    ```
    """
    del class_names
    first = {name: np.asarray(value)[:1] for name, value in episode.items() if name != "seed"}
    asked, given = first[QUERY_INPUTS][0], first[SUPPORT_INPUTS][0]
    if asked.shape[-1] != 1:
        raise ValueError(
            f"function_figure draws functions of one number; these have {asked.shape[-1]}. "
            "completion_figure draws images."
        )
    figure = Figure(figsize=(6.0, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    targets = np.asarray(query_targets)[0, :, 0]
    axes.plot(asked[:, 0], targets, ".", color="#9aa0a6", markersize=4, label="asked")
    title = f"{len(given)} points given"
    if learner is not None:
        error = _draw_answers(axes, learner, first, targets)
        title += f", mean squared error {error:.3g}"
    axes.plot(
        given[:, 0], first[SUPPORT_TARGETS][0, :, 0], "^", color="#000000", markersize=6,
        label="given",
    )  # fmt: skip
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_answers(
    axes: Any, learner: keras.Model, episode: dict[str, np.ndarray], targets: np.ndarray
) -> float:
    """Lines over the whole range; returns the error where it was asked."""
    points = np.concatenate([episode[QUERY_INPUTS], episode[SUPPORT_INPUTS]], axis=1)
    places = np.linspace(points.min(), points.max(), PLACES, dtype="float32")
    whole = {**episode, QUERY_INPUTS: places[None, :, None]}
    name = type(learner).__name__
    steps = learner.default_steps
    label = name if steps is None else f"{name}, {steps} steps"
    lines = [(label, "-", None)]
    if learner.adapts_in_steps:
        lines.insert(0, (f"{name}, no step", "--", 0))
    for label, style, taken in lines:
        answer = np.asarray(learner(whole, training=False, steps=taken)["predictions"])[0, :, 0]
        color = COLORS[0] if taken is None else COLORS[4]
        axes.plot(places, answer, style, color=color, linewidth=1.6, label=label)
    answers = np.asarray(learner(episode, training=False)["predictions"])[0, :, 0]
    return float(np.mean((answers - targets) ** 2))
