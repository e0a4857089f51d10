"""How validation went in several runs."""

import json
import os
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.curves import draw_curves, run_names
from kfsl.runs.run_directory import RunDirectory


def validation_curves(
    run_dirs: Sequence[str], names: Sequence[str] | None = None, metric: str | None = None
) -> Figure:
    """Plots a metric of several runs over training steps, with their 95 % intervals as bands.

    Epochs without validation, and a last line cut short by a kill, are left out.

    Args:
        run_dirs: sequence of str. Run directories, each with a `metrics.jsonl`.
        names: sequence of str or None. One a run, for the legend; None takes the folders' names.
        metric: str. Key in `metrics.jsonl`; its interval is `<metric>_interval`, where there.
            Defaults to None: what the first run validated, such as `"val_accuracy"`.

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
    from kfsl.analysis.evaluations.validation_curves import validation_curves
    from kfsl.runs.run_directory import RunDirectory

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
    metric = metric or f"val_{RunDirectory(run_dirs[0]).validation_metric}"
    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    for folder, name in zip(run_dirs, names, strict=True):
        steps, values, intervals = validation_curve(folder, metric)
        draw_curves(axes, steps, [(values, intervals)], [name], marker="")
    axes.set_xlabel("training steps")
    axes.set_ylabel(metric.removeprefix("val_").replace("_", " ") + " (validation)")
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    return figure


def validation_curve(
    folder: str, metric: str = "val_accuracy"
) -> tuple[list[float], list[float], list[float]]:
    """A metric that a run logged at its validations.

    Args:
        folder: str. Run directory.
        metric: str. Key in `metrics.jsonl`.

    Returns:
        Steps, values and half intervals, as long as one another.

    Raises:
        ValueError: if the run has no such metric.
    """
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


def analyze(request: AnalysisRequest, *, compare: tuple[RunDirectory, ...] = ()) -> Analysis:
    """How validation went in this run and those to compare with.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.

    Returns:
        `Analysis`.
    """
    paths = [run.path for run in (request.run, *compare)]
    metric = request.run.validation_metric
    curves = {path: validation_curve(path, f"val_{metric}") for path in paths}
    values = {
        path: {"steps": steps, metric: measured} for path, (steps, measured, _) in curves.items()
    }
    return Analysis("validation_curves", validation_curves(paths), {"curves": values})
