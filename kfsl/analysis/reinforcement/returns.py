"""What policies return over updates: the curves of the ModGrad paper's figure 8."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.curves import draw_curves, level_figure, run_names
from kfsl.figures.text_table import text_table
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import half_interval
from kfsl.runs.paired_difference import differences
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import stored_evaluation


def returns_values(evaluations: dict[str, Evaluation]) -> dict[str, Any]:
    """The numbers in the figure, as JSON can hold them.

    Args:
        evaluations: dict, runs' paths to `Evaluation` of policies, of the same tasks.

    Returns:
        dict. For each run `return` and `interval` (half of the 95 % interval) after 0, 1, ...
        updates, and for all but the first `against_first`, the paired difference to the first run
        after as many.

    Raises:
        ValueError: for evaluations of other learners, or of other tasks.
    """
    first = next(iter(evaluations.values()))
    runs = {}
    for path, found in evaluations.items():
        if not found.after_updates:
            raise ValueError(f"{path!r} has no policy: its evaluation tells of no updates.")
        if differences(first, found):
            raise ValueError(
                f"{path!r} was evaluated on other tasks than the first run: they differ in "
                f"{'; '.join(differences(first, found))}. Evaluate both alike."
            )
        runs[path] = {"learner": found.learner, **_means(found.after_updates, "return")}
        if found is not first:
            # Beyond the first update alone where both went equally far.
            alike = None if found.later_share == first.later_share else 2
            pairs = zip(found.after_updates[:alike], first.after_updates, strict=False)
            runs[path]["against_first"] = _means([np.subtract(*pair) for pair in pairs], "mean")
    return {"split": first.split, "tasks": first.episodes, "runs": runs}


def returns_figure(values: dict[str, Any]) -> Figure:
    """Draws returns over updates, a line with its 95 % intervals for each run.

    Args:
        values: dict, from `returns_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 8.

    Example:
    ```python
    from kfsl.analysis.reinforcement.returns import returns_figure

    run = {"return": [-40.0, -10.0], "interval": [2.0, 1.0]}
    figure = returns_figure({"split": "test", "tasks": 40, "runs": {"runs/maml": run}})
    assert figure.axes[0].get_ylabel() == "return"
    ```
    """
    runs = values["runs"].values()
    longest = max(len(run["return"]) for run in runs)
    figure, axes = level_figure(list(range(longest)), "updates", metric="return")
    for name, run in zip(run_names(list(values["runs"])), runs, strict=True):
        updates = list(range(len(run["return"])))
        draw_curves(axes, updates, [(run["return"], run["interval"])], [name])
    axes.set_title(f"{values['split']}, {values['tasks']} tasks", fontsize=9)
    return figure


def _means(columns: Any, name: str) -> dict[str, list[float]]:
    return {
        name: [float(np.mean(column)) for column in columns],
        "interval": [half_interval(column) for column in columns],
    }


def analyze(
    request: AnalysisRequest, *, compare: tuple[RunDirectory, ...] = (), split: str = "test"
) -> Analysis:
    """What this policy and those to compare with return over updates, as they were evaluated.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which evaluations.

    Returns:
        `Analysis`.
    """
    found = {run.path: stored_evaluation(run, split) for run in (request.run, *compare)}
    values = returns_values(found)
    longest = max(len(run["return"]) for run in values["runs"].values())
    rows = [("run", *(f"after {update}" for update in range(longest)))]
    for name, run in zip(run_names(list(found)), values["runs"].values(), strict=True):
        pairs = zip(run["return"], run["interval"], strict=True)
        cells = [f"{mean:.2f} ± {half:.2f}" for mean, half in pairs]
        rows.append((name, *cells, *[""] * (longest - len(cells))))
    return Analysis(f"returns_{split}", returns_figure(values), values, table=text_table(rows))
