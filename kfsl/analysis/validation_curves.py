"""How the validation accuracy of several runs grew."""

import json
import os
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl.run_directory import RunDirectory

# Distinct for colour-blind readers too (Okabe and Ito).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def validation_curves(
    run_dirs: Sequence[str], names: Sequence[str] | None = None, metric: str = "val_accuracy"
) -> Figure:
    """Plots a metric of several runs over training steps, with their 95 % intervals as bands.

    Epochs without validation, and a last line cut short by a kill, are left out.

    Args:
        run_dirs: sequence of str. Run directories, each with a `metrics.jsonl`.
        names: sequence of str or None. One a run, for the legend; None takes the folders' names.
        metric: str. Key in `metrics.jsonl`; its interval is `<metric>_interval`, where there.
            Defaults to `"val_accuracy"`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: no runs, another number of names, or a run without the metric.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), figure 5: with and
        without the semantic branch.

    Example:
    ```python
    import tempfile
    from kfsl.analysis.validation_curves import validation_curves
    from kfsl.run_directory import RunDirectory

    folder = tempfile.mkdtemp()
    for step, accuracy in ((100, 0.4), (200, 0.5)):
        RunDirectory(folder).append_metrics({"step": step, "val_accuracy": accuracy})
    figure = validation_curves([folder], ["with semantics"])
    assert figure.axes[0].get_xlabel() == "training steps"
    ```
    """
    if not run_dirs:
        raise ValueError("Name at least one run directory.")
    names = run_names(run_dirs) if names is None else names
    if len(names) != len(run_dirs):
        raise ValueError(f"Received {len(names)} names for {len(run_dirs)} runs: {list(names)}.")
    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    for i, (folder, name) in enumerate(zip(run_dirs, names, strict=True)):
        steps, values, intervals = _curve(folder, metric)
        color = COLORS[i % len(COLORS)]
        style = "-" if i < len(COLORS) else "--"
        # A label that starts with an underscore is left out of legends.
        label = name if not name.startswith("_") else f" {name}"
        axes.plot(steps, values, style, color=color, linewidth=1.6, label=label)
        low = [value - interval for value, interval in zip(values, intervals, strict=True)]
        high = [value + interval for value, interval in zip(values, intervals, strict=True)]
        axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    axes.set_xlabel("training steps")
    axes.set_ylabel(metric.removeprefix("val_").replace("_", " ") + " (validation)")
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def run_names(run_dirs: Sequence[str]) -> list[str]:
    """Names for a legend: those of the folders, or the paths where folders share a name.

    Args:
        run_dirs: sequence of str. Run directories.

    Returns:
        list of str, one for each.

    Example:
    ```python
    from kfsl.analysis.validation_curves import run_names

    assert run_names(["runs/maml", "runs/cavia/"]) == ["maml", "cavia"]
    assert run_names(["a/run", "b/run"]) == ["a/run", "b/run"]
    ```
    """
    names = [os.path.basename(os.path.abspath(folder)) for folder in run_dirs]
    return names if len(set(names)) == len(names) else list(run_dirs)


def _curve(folder: str, metric: str) -> tuple[list[float], list[float], list[float]]:
    lines = [line for line in _metrics(folder) if metric in line]
    if not lines:
        raise ValueError(
            f"{folder!r} has no {metric!r} in its metrics.jsonl: name a run directory that was "
            "trained with validation."
        )
    return (
        [line["step"] for line in lines],
        [line[metric] for line in lines],
        [line.get(f"{metric}_interval", 0.0) for line in lines],
    )


def _metrics(folder: str) -> list[Mapping[str, float]]:
    path = RunDirectory(folder).metrics_path
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except ValueError:
            continue  # Cut short when the run was killed.
    return parsed
