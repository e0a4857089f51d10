"""Draws what the weights of cross-modulation say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kfsl.figures.cross_modulation_weights import (
    HALVES,
    SCALES,
    block_kernels,
    block_scales,
    norm_values,
)

# Distinct for colour-blind readers too (Okabe and Ito).
if TYPE_CHECKING:
    import keras

COLORS = {"gamma0": "#0072b2", "beta0": "#e69f00", "self": "#009e73", "cross": "#cc79a7"}
LABELS = {"gamma0": r"$|\gamma_0|$", "beta0": r"$|\beta_0|$"}


def cross_modulation_figure(
    learner: keras.Model,
    episode: dict[str, Any] | None = None,
    query_labels: Any = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draws the learnt factors and the generators' weights of a network, all of figure 2.

    `train.figures = (@cross_modulation_figure,)` shows it in TensorBoard during training.

    Args:
        learner: `CrossModulationLearner`.
        episode: not used, as the weights are the same for all; nor are the arguments after it,
            which every function of `train.figures` is given.
        query_labels: not used.
        class_names: not used.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: for other learners.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 2.

    Example:
    ```python
    from kfsl.figures.cross_modulation import cross_modulation_figure
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.cross_modulation_network import CrossModulationNetwork

    learner = CrossModulationNetwork(Conv4(image_shape=(28, 28, 1), filters=4))
    titles = [axes.get_title() for axes in cross_modulation_figure(learner).axes]
    assert titles[2:5] == ["block2_bn", "block3_bn", "block4_bn"]
    ```
    """
    del episode, query_labels, class_names
    scales, kernels = block_scales(learner), block_kernels(learner)
    width = max(8.0, 0.8 + 2.6 * len(kernels))
    figure = Figure(figsize=(width, 6.6), dpi=100, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.0))
    panes = above.subplots(1, 2)
    _draw_scales(panes[0], scales)
    _draw_norms(panes[1], norm_values(learner)["blocks"])
    _draw_kernels(below, below.subplots(1, len(kernels), squeeze=False)[0], kernels)
    return figure


def scales_figure(learner: keras.Model) -> Figure:
    """Draws the distributions of `|gamma0|` and `|beta0|`, block by block.

    Boxes hold the middle half of the channels, whiskers lead to the 5th and 95th percentiles.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: for other learners.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 2a.
    """
    scales = block_scales(learner)
    figure = Figure(figsize=(1.6 + 1.5 * len(scales), 4.0), dpi=110, layout="constrained")
    _draw_scales(figure.subplots(), scales)
    return figure


def norms_figure(learner: keras.Model) -> Figure:
    """Draws the generators' weights, self and cross, and the norms of both, block by block.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: for other learners.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figures 2b and 2c.
    """
    kernels = block_kernels(learner)
    figure = Figure(figsize=(3.6 + 2.6 * len(kernels), 3.4), dpi=110, layout="constrained")
    panes = figure.subplots(1, len(kernels) + 1, squeeze=False)[0]
    _draw_norms(panes[-1], norm_values(learner)["blocks"])
    _draw_kernels(figure, panes[:-1], kernels)
    return figure


def _draw_scales(axes: Axes, scales: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    for offset, name in zip((-0.18, 0.18), SCALES, strict=True):
        color = COLORS[name]
        axes.boxplot(
            [np.abs(found[name]) for found in scales.values()],
            positions=np.arange(len(scales)) + offset,
            widths=0.28,
            whis=(5, 95),
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "alpha": 0.6},
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": color},
        )
        axes.bar([0], [0], color=color, alpha=0.6, label=LABELS[name])  # For the legend.
    axes.set_ylabel("absolute value", fontsize=8)
    _finish(axes, list(scales))


def _draw_norms(axes: Axes, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    for offset, half in zip((-0.18, 0.18), HALVES, strict=True):
        heights = [found[half] for found in blocks.values()]
        axes.bar(np.arange(len(blocks)) + offset, heights, 0.34, color=COLORS[half], label=half)
    axes.set_ylabel("mean norm of columns", fontsize=8)
    _finish(axes, list(blocks))


def _draw_kernels(
    figure: Any, panes: Sequence[Axes], kernels: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    largest = max(np.abs(rows).max() for halves in kernels.values() for rows in halves.values())
    for axes, (block, halves) in zip(panes, kernels.items(), strict=True):
        matrix = np.concatenate([halves[half] for half in HALVES])
        rows, columns = matrix.shape
        limit = largest or 1.0
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="none")
        axes.axhline(rows / 2 - 0.5, color="black", linewidth=1.2)
        axes.axvline(columns / 2 - 0.5, color="black", linewidth=0.6, linestyle=":")
        axes.set_yticks([rows / 4 - 0.5, 3 * rows / 4 - 0.5], HALVES, rotation=90, va="center")
        axes.set_xticks([columns / 4 - 0.5, 3 * columns / 4 - 0.5], [r"$\gamma$", r"$\beta$"])
        axes.tick_params(length=0, labelsize=8)
        axes.set_title(block, fontsize=9, parse_math=False)
    bar = figure.colorbar(image, ax=list(panes), shrink=0.8)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _finish(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), blocks, fontsize=8, parse_math=False)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylim(0, 1.25 * axes.dataLim.y1 or 1.0)  # Room for the legend.
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
