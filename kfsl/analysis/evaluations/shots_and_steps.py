"""Evaluations of several runs in one table: by shots, inner steps or columns."""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.curves import draw_curves, level_figure
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, stored_evaluation

#: What an axis can show, and how the axis is called.
AXES = {"shots": "shots", "steps": "inner steps", "columns": "columns u"}
#: How a line says what it is of; those that differ between runs are said.
LABELS = {
    "learner": "{}",
    "first_order": "first order: {}",
    "backbone": "{}",
    "dataset": "{}",
    "ways": "{}-way",
    "shots": "{}-shot",
    "steps": "{} steps",
    "columns": "u = {}",
}
#: What a binding names that this table tells of a learner.
SETTING = re.compile(r"\.(evaluation_steps|steps|columns|first_order|backbone)\s*=")


def evaluation_rows(runs: Sequence[RunDirectory], split: str) -> list[dict[str, Any]]:
    """One row for each run, from its evaluation and the settings saved with its weights.

    Args:
        runs: sequence of `RunDirectory`.
        split: str.

    Returns:
        list of dict: `run`, `metric` and the number it names, such as `accuracy`, `interval`
        (half of the 95 % interval), `episodes`,
        `bn_policy`, and the keys of `LABELS`, None where a learner has no such setting.
        `steps` are those at test.

    Raises:
        FileNotFoundError: if a run has no trained learner, or was not evaluated on the split.
        ValueError: if the learner's file is damaged, a run was evaluated with other settings than
            those, or the runs measure different things.
    """
    rows = [_row(run, stored_evaluation(run, split)) for run in runs]
    if len({row["metric"] for row in rows}) > 1:
        told = ", ".join(f"{row['run']}: {row['metric']}" for row in rows)
        raise ValueError(
            f"These runs cannot share a figure, they measure different things: {told}."
        )
    return rows


def axis_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The key of `AXES` of which the rows have most values; shots where it makes no odds.

    Example:
    ```python
    from kfsl.analysis.evaluations.shots_and_steps import axis_of

    rows = [{"shots": 5, "steps": steps, "columns": None} for steps in (1, 2, 3)]
    assert axis_of(rows) == "steps"
    ```
    """

    def values(key: str) -> int:
        known = [row[key] for row in rows]
        # Episodes whose shots vary, and learners without steps, have no place on an axis.
        return len(set(known)) if all(isinstance(value, int) for value in known) else 0

    return max(AXES, key=values)


def rows_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draws what was measured over shots, steps or columns, a line for all that agree in the rest.

    Args:
        rows: sequence of dict, from `evaluation_rows`.
        title: str.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 6,
        tables 4 and 5.

    Example:
    ```python
    from kfsl.analysis.evaluations.shots_and_steps import rows_figure

    row = {"metric": "accuracy", "accuracy": 0.6, "interval": 0.01, "learner": "MAML", "ways": 5,
           "backbone": "Conv4", "dataset": "glyphs", "first_order": True, "columns": None}
    rows = [{**row, "steps": steps, "shots": shots} for steps in (5, 30) for shots in (1, 5, 10)]
    legend = rows_figure(rows).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["MAML, 5 steps", "MAML, 30 steps"]
    ```
    """
    axis = axis_of(rows)
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault(line_label(row, rows, axis), []).append(row)
    # A range of shots, or learners without steps, stand at 0.
    places = {id(row): row[axis] if isinstance(row[axis], int) else 0 for row in rows}
    (metric,) = {row["metric"] for row in rows}
    figure, axes = level_figure(list(places.values()), AXES[axis], metric=metric)
    for label, members in lines.items():
        members.sort(key=lambda row: places[id(row)])
        curve = [row[metric] for row in members], [row["interval"] for row in members]
        draw_curves(axes, [places[id(row)] for row in members], [curve], [label])
    axes.set_title(title, fontsize=9)
    return figure


def line_label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], axis: str) -> str:
    """The learner, and which of the settings that differ between the rows it has.

    Args:
        row: dict.
        rows: sequence of dict. All rows.
        axis: str. The key that the axis shows.

    Returns:
        str.
    """
    said = []
    for key, text in LABELS.items():
        differs = len({str(other[key]) for other in rows}) > 1
        if key == "learner" or (differs and key != axis and row[key] is not None):
            value = "-".join(map(str, row[key])) if isinstance(row[key], list) else row[key]
            said.append(text.format(value))
    return ", ".join(said)


def _row(run: RunDirectory, evaluation: Evaluation) -> dict[str, Any]:
    settings = learner_settings(run)
    if changed := [each for each in evaluation.overrides if SETTING.search(each)]:
        raise ValueError(
            f"{run.path!r} was evaluated with {', '.join(changed)}, and this table tells the "
            "settings that the runs were trained with. Evaluate it without."
        )
    steps = settings.get("evaluation_steps")
    return {
        "run": run.path,
        "learner": evaluation.learner,
        "first_order": settings.get("first_order"),
        "backbone": (settings.get("backbone") or {}).get("class_name"),
        "dataset": evaluation.dataset,
        "ways": evaluation.ways,
        "shots": evaluation.shots,
        "steps": settings.get("steps") if steps is None else steps,
        "columns": settings.get("columns"),
        "bn_policy": evaluation.bn_policy,
        "metric": evaluation.metric,
        evaluation.metric: evaluation.mean,
        "interval": evaluation.interval,
        "episodes": evaluation.episodes,
    }


def learner_settings(run: RunDirectory) -> dict[str, Any]:
    """The arguments of a run's best learner, as its file holds them.

    Args:
        run: `RunDirectory`.

    Returns:
        dict.

    Raises:
        FileNotFoundError: if nothing was trained.
        ValueError: if the file is damaged.
    """
    check_trained(run)
    try:
        with zipfile.ZipFile(run.best_learner) as file:
            return json.loads(file.read("config.json"))["config"]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{run.best_learner} is damaged: {error}.") from error


def analyze(
    request: AnalysisRequest, *, compare: tuple[RunDirectory, ...] = (), split: str = "test"
) -> Analysis:
    """The evaluations of several runs: what was measured by shots, inner steps or columns.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which evaluations.

    Returns:
        `Analysis`.
    """
    rows = evaluation_rows([request.run, *compare], split)
    return Analysis(f"shots_and_steps_{split}", rows_figure(rows, split), {"rows": rows})
