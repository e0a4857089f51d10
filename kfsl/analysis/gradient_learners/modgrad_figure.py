"""Draws the spectra of gradients before and after ModGrad's modulation."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kfsl.analysis.gradient_learners.spectra import RADII
from kfsl.figures.curves import run_names

#: Kernels that are drawn, the last of each run; the numbers have them all.
MOST_ROWS = 8
COLORS = {"gradient": "#0072b2", "modulated": "#d55e00"}


def modulation_figure(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws, for each kernel: singular values, energy above frequencies, cosine over noise.

    Solid lines are clean, dashed lines have the most noise.

    Args:
        runs: dict from runs' paths to what `modulation_values` returns.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, section 5.6 (its
        figure is in a supplement; what is drawn here is our choice).

    Example:
    ```python
    from kfsl.analysis.gradient_learners.modgrad_figure import modulation_figure
    from kfsl.analysis.gradient_learners.spectra import RADII

    one = {"spectrum": [0.9, 0.1], "energy_above": [0.5] * len(RADII), "cosine": 1.0}
    levels = [{"standard_deviation": d, "gradient": one, "modulated": one} for d in (0.0, 0.1)]
    kernel = {"matrix": [2, 2], "factors": {"spectrum": [1.0, 0.0]}, "levels": levels}
    assert len(modulation_figure({"runs/modgrad": {"kernel": kernel}}).axes) == 3
    ```
    """
    each = max(1, MOST_ROWS // len(runs))
    rows = [
        (f"{name}: {kernel}" if len(runs) > 1 else kernel, values)
        for name, kernels in zip(run_names(list(runs)), runs.values(), strict=True)
        for kernel, values in list(kernels.items())[-each:]
    ]
    figure = Figure(figsize=(13, 0.4 + 3.2 * len(rows)), dpi=100, layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes, (title, values) in zip(grid, rows, strict=True):
        _spectra(axes[0], values, title)
        _frequencies(axes[1], values["levels"])
        _cosines(axes[2], values["levels"])
        for pane in axes:
            pane.grid(alpha=0.3)
            pane.spines[["top", "right"]].set_visible(False)
            pane.legend(frameon=False, fontsize=7)
    return figure


def _spectra(axes: Axes, values: Mapping[str, Any], title: str) -> None:
    for label, style, found in _lines(values["levels"]):
        energies = found["spectrum"]
        # Below the last digit of float32 nothing is meant.
        places = [i for i, energy in enumerate(energies, 1) if energy > 1e-12]
        shown = [energies[i - 1] for i in places]
        axes.plot(places, shown, linewidth=1.4, label=label, **style)
    axes.set_yscale("log")
    rows, columns = values["matrix"]
    axes.set_title(f"{title} as {rows} x {columns}", fontsize=8, parse_math=False)
    axes.set_xlabel("singular value", fontsize=8)
    axes.set_ylabel("share of the energy", fontsize=8)


def _frequencies(axes: Axes, levels: Sequence[Mapping[str, Any]]) -> None:
    for label, style, found in _lines(levels):
        axes.plot(RADII, found["energy_above"], linewidth=1.4, label=label, **style)
    axes.set_xlabel("spatial frequency, cycles a row or column", fontsize=8)
    axes.set_ylabel("energy at it and above", fontsize=8)


def _cosines(axes: Axes, levels: Sequence[Mapping[str, Any]]) -> None:
    deviations = [level["standard_deviation"] for level in levels]
    for name, color in COLORS.items():
        cosines = [level[name]["cosine"] for level in levels]
        axes.plot(range(len(levels)), cosines, "-o", color=color, markersize=4, label=name)
    axes.set_xticks(range(len(levels)), [f"{deviation:g}" for deviation in deviations])
    axes.set_xlabel("standard deviation of the noise", fontsize=8)
    axes.set_ylabel("cosine with the clean one", fontsize=8)


def _lines(levels: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, str], Any]]:
    """Label, style and numbers of the clean gradient and of the noisiest."""
    chosen = {"-": levels[0], "--": levels[-1]} if len(levels) > 1 else {"-": levels[0]}
    return [
        (
            f"{name}, noise {level['standard_deviation']:g}",
            {"linestyle": line, "color": color},
            level[name],
        )
        for line, level in chosen.items()
        for name, color in COLORS.items()
    ]
