"""Which classes are hard, and which are taken for which."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.text import printable
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.trained_run import stored_evaluation


def hardest_classes(evaluation: Evaluation, count: int = 10) -> list[tuple[str, float, int]]:
    """The classes with the lowest accuracy.

    Args:
        evaluation: `Evaluation`.
        count: int. At most so many.

    Returns:
        list of `(class name, accuracy in 0..1, queries)`, hardest first; of two that are
        equally hard, the one asked more often comes first.
    """
    rows = [
        (name, correct / queries, queries)
        for name, (correct, queries) in evaluation.classes.items()
    ]
    return sorted(rows, key=lambda row: (row[1], -row[2], row[0]))[:count]


def most_confused(evaluation: Evaluation, count: int = 10) -> list[tuple[str, str, int, int]]:
    """The pairs of classes that are confused most often.

    Args:
        evaluation: `Evaluation`.
        count: int. At most so many.

    Returns:
        list of `(true class, predicted class, times, queries)`; `queries` counts the queries of
        the true class in episodes in which the predicted one was a choice.
    """
    return [tuple(row) for row in evaluation.confusions[:count]]


def check_classes(evaluation: Evaluation) -> None:
    """Refuses an evaluation of tasks without classes.

    Raises:
        ValueError: saying what it measures.
    """
    if evaluation.metric != "accuracy":
        raise ValueError(
            f"This evaluation measures the {evaluation.metric} of a {evaluation.learner}: its "
            "tasks have no classes that could be hard or confused."
        )


def confusion_text(evaluation: Evaluation, count: int = 10) -> str:
    """Both lists for the terminal.

    Raises:
        ValueError: for tasks without classes.
    """
    check_classes(evaluation)
    lines = [evaluation.summary(), "", "hardest classes", "  accuracy  queries  class"]
    for name, accuracy, queries in hardest_classes(evaluation, count):
        lines.append(f"  {100 * accuracy:6.1f} %  {queries:7d}  {name}")
    lines += ["", "most often confused", "  times  of queries  class -> taken for"]
    confused = most_confused(evaluation, count)
    for true, predicted, times, queries in confused:
        lines.append(f"  {times:5d}  {queries:10d}  {true} -> {predicted}")
    if not confused:
        lines.append("  none: every query was right")
    return "\n".join(lines)


def confusion_json(evaluation: Evaluation, count: int = 10) -> dict[str, Any]:
    """Both lists as JSON can hold them."""
    return {
        "summary": evaluation.summary(),
        "hardest": [
            {"class": name, "accuracy": accuracy, "queries": queries}
            for name, accuracy, queries in hardest_classes(evaluation, count)
        ],
        "confused": [
            {"class": true, "taken_for": predicted, "times": times, "queries": queries}
            for true, predicted, times, queries in most_confused(evaluation, count)
        ],
    }


def confusion_figure(evaluation: Evaluation, count: int = 10) -> Figure:
    """Both lists as bars.

    Args:
        evaluation: `Evaluation`.
        count: int. At most so many of each.

    Returns:
        `matplotlib.figure.Figure`.

    Example:
    ```python
    from kfsl.analysis.evaluations.confusion import confusion_figure
    from kfsl.runs.evaluation_record import Evaluation

    evaluation = Evaluation(
        split="test", values=[0.5, 1.0], ways=2, shots=1, queries=1, seed=0,
        dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
        learner="PrototypicalNetwork", bn_policy="running", transductive=False,
        classes={"a": [1, 2], "b": [2, 2]}, confusions=[["a", "b", 1, 2]],
    )
    figure = confusion_figure(evaluation)
    assert len(figure.axes) == 2
    ```
    """
    hardest = [
        (printable(name, 32), 100 * accuracy, f"{accuracy * queries:.0f} of {queries}")
        for name, accuracy, queries in hardest_classes(evaluation, count)
    ]
    confused = [
        (
            f"{printable(true, 20)} → {printable(predicted, 20)}",
            100 * times / queries,
            f"{times} of {queries}",
        )
        for true, predicted, times, queries in most_confused(evaluation, count)
    ]
    rows = max(len(hardest), len(confused), 2)
    figure = Figure(figsize=(12, 1.2 + 0.3 * rows), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, hardest, "hardest classes: accuracy, %", "#3b6fb6")
    _bars(right, confused, "most often confused: share of the queries, %", "#d1383d")
    figure.suptitle(evaluation.summary(), fontsize=10)
    return figure


def _bars(axes: Axes, rows: list[tuple[str, float, str]], title: str, color: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlim(0, 115)
    places = range(len(rows))
    axes.barh(places, [value for _, value, _ in rows], color=color, height=0.6)
    axes.set_yticks(places)
    axes.set_yticklabels([name for name, _, _ in rows], fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    for place, (_, value, note) in enumerate(rows):
        axes.text(value + 1, place, note, va="center", fontsize=6.5, color="#555555")


def analyze(request: AnalysisRequest, *, split: str = "test", count: int = 10) -> Analysis:
    """The hardest classes of an evaluation, and those taken for one another.

    Args:
        request: `AnalysisRequest`.
        split: str. Which evaluation.
        count: int. Classes and pairs to list.

    Returns:
        `Analysis`.
    """
    evaluation = stored_evaluation(request.run, split)
    check_classes(evaluation)
    figure = confusion_figure(evaluation, count)
    return Analysis(f"confusion_{split}", figure, confusion_json(evaluation, count))
