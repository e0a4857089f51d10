"""Lines with intervals, over levels such as noise or numbers of steps."""

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

# Distinct for colour-blind readers too (Okabe and Ito).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def level_figure(
    levels: Sequence[float], label: str, panels: int = 1, metric: str = "accuracy"
) -> tuple[Figure, Any]:
    """A figure for what is measured over levels that may span decades and begin at 0.

    Args:
        levels: sequence of float.
        label: str. What the levels are.
        panels: int. Further panels stay empty.
        metric: str. What is measured; accuracies are shown in per cent.

    Returns:
        `Figure`, and its axes: one `Axes`, or a list of them. The first is for what is measured.

    Example:
    ```python
    from kfsl.figures.curves import level_figure

    _, axes = level_figure([0.0, 0.01, 0.1, 1.0], "noise")
    assert axes.get_xscale() == "symlog"
    ```
    """
    figure = Figure(figsize=(1.4 + 5.0 * panels, 4.0), dpi=110, layout="constrained")
    panes = figure.subplots(1, panels, squeeze=False)[0].tolist()
    axes = panes[0]
    positive = [level for level in levels if level > 0]
    if positive and max(positive) > 20 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(set(levels)), [f"{level:g}" for level in sorted(set(levels))])
    axes.set_xlabel(label)
    axes.set_ylabel(metric)
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    return figure, axes if panels == 1 else panes


def draw_curves(
    axes: Axes,
    levels: Sequence[float],
    curves: Sequence[tuple[Sequence[float], Sequence[float]]],
    names: Sequence[str],
    marker: str = "o",
) -> None:
    """Adds one line for each run, its 95 % interval as a band, and the legend.

    Args:
        axes: matplotlib `Axes`.
        levels: sequence of float.
        curves: sequence of (values, half intervals), each as long as `levels`.
        names: sequence of str, as long as `curves`.
        marker: str. Marks the levels.
    """
    drawn = len(axes.lines)
    for i, ((values, intervals), name) in enumerate(zip(curves, names, strict=True), drawn):
        color = COLORS[i % len(COLORS)]
        style = ("-" if i < len(COLORS) else "--") + marker
        # A label that starts with an underscore is left out of legends.
        label = name if not name.startswith("_") else f" {name}"
        axes.plot(levels, values, style, color=color, linewidth=1.6, markersize=4, label=label)
        pairs = list(zip(values, intervals, strict=True))
        low, high = [v - half for v, half in pairs], [v + half for v, half in pairs]
        axes.fill_between(levels, low, high, color=color, alpha=0.18, linewidth=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def run_names(run_dirs: Sequence[str]) -> list[str]:
    """Names for a legend: those of the folders, or the paths where folders share a name.

    Args:
        run_dirs: sequence of str. Run directories.

    Returns:
        list of str, one for each.

    Example:
    ```python
    from kfsl.figures.curves import run_names

    assert run_names(["runs/maml", "runs/cavia/"]) == ["maml", "cavia"]
    assert run_names(["a/run", "b/run"]) == ["a/run", "b/run"]
    ```
    """
    names = [os.path.basename(os.path.abspath(folder)) for folder in run_dirs]
    return names if len(set(names)) == len(names) else list(run_dirs)


def told_apart(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin and end with, for narrow headings.

    Args:
        names: sequence of str. Words have `_` between them.

    Returns:
        list of str, one for each; the names themselves where nothing would be left of one.

    Example:
    ```python
    from kfsl.figures.curves import told_apart

    assert told_apart(["cifar_fs_cnp_10", "cifar_fs_maml_10"]) == ["cnp", "maml"]
    assert told_apart(["maml", "maml_far"]) == ["maml", "maml_far"]
    ```
    """
    words = [name.split("_") for name in names]
    shortest = min(map(len, words), default=0)
    same = [len({tuple(each[:n]) for each in words}) == 1 for n in range(1, shortest + 1)]
    first = sum(same)
    same = [len({tuple(each[-n:]) for each in words}) == 1 for n in range(1, shortest - first + 1)]
    kept = ["_".join(each[first : len(each) - sum(same)]) for each in words]
    return kept if all(kept) and len(kept) > 1 else list(names)
