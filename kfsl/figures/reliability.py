"""Confidence against accuracy, as a reliability diagram."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter


def reliability_figure(panels: Mapping[str, Mapping[str, Any]], title: str = "") -> Figure:
    """Draws how often a prediction is right, by how sure it was.

    A bar is a bin of confidence: where it ends below the diagonal the learner is too sure. The
    narrow axes below say how many of the queries each bin holds.

    Args:
        panels: mapping from a name to a `Reliability` as JSON, such as before and after.
        title: str.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        [Guo et al., 2017](https://proceedings.mlr.press/v70/guo17a.html), figure 1.

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.reliability import reliability
    from kfsl.figures.reliability import reliability_figure

    found = reliability([np.log([[0.9, 0.1], [0.6, 0.4]])] * 2, [np.array([0, 1])] * 2)
    figure = reliability_figure({"as they are": found.to_json()})
    assert figure.axes[0].get_ylabel() == "right"
    ```
    """
    figure = Figure(figsize=(0.8 + 4.0 * len(panels), 5.0), dpi=110, layout="constrained")
    grid = figure.subplots(
        2, len(panels), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1)
    )
    for column, (name, found) in enumerate(panels.items()):
        _draw_bars(grid[0][column], found["bins"])
        _draw_shares(grid[1][column], found["bins"])
        error, half = 100 * found["ece"], 100 * found["ece_interval"]
        grid[0][column].set_title(f"{name}: ECE {error:.2f} ± {half:.2f} %", fontsize=9)
    grid[0][0].set_ylabel("right")
    keys = [
        Patch(color="#0072b2", label="right"),
        Patch(facecolor="#d55e00", alpha=0.45, hatch="///", label="gap to what was said"),
    ]
    grid[0][0].legend(handles=keys, frameon=False, fontsize=8, loc="upper left")
    grid[1][0].set_ylabel("queries")
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_bars(axes: Axes, bins: Sequence[Sequence]) -> None:
    width = 1 / len(bins)
    axes.plot([0, 1], [0, 1], "--", color="#555555", linewidth=1)
    for place, (queries, confidence, right) in enumerate(bins):
        if queries:
            middle = (place + 0.5) * width
            axes.bar(middle, right, 0.94 * width, color="#0072b2")
            # From what is true to what was said.
            axes.bar(
                middle, confidence - right, 0.94 * width, right, color="#d55e00", alpha=0.45,
                hatch="///", edgecolor="#d55e00", linewidth=0,
            )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_shares(axes: Axes, bins: Sequence[Sequence]) -> None:
    width, total = 1 / len(bins), sum(each[0] for each in bins)
    places = [(place + 0.5) * width for place in range(len(bins))]
    axes.bar(places, [each[0] / total for each in bins], 0.94 * width, color="#888888")
    axes.set_xlabel("probability of the predicted class")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)
