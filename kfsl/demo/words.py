"""What the page says, in sentences and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from kfsl.calibration.words import probabilities_line
from kfsl.demo.workbench import Workbench
from kfsl.prediction import support_report
from kfsl.prediction import words as prediction_words
from kfsl.prediction.table import LIKELIEST, MOST_COLUMNS, PredictionTable


def title(bench: Workbench) -> str:
    """The model, what it was trained on, and what becomes of the images.

    Args:
        bench: `Workbench`.

    Returns:
        str.
    """
    served = bench.model.served
    line = prediction_words.model_line(served.description, served.trained_on)
    return f"{bench.model.name}: {line}"


def support_lines(bench: Workbench) -> list[str]:
    """How far the classes can be told apart.

    Args:
        bench: `Workbench`.

    Returns:
        list of str; what is missing, as long as something is.
    """
    if bench.support is None:
        return [bench.lacking]
    served = bench.model.served
    return [
        prediction_words.support_line(bench.support),
        *(
            line.strip()
            for line in support_report.leave_one_out_lines(
                bench.support,
                bench.left_out(),
                served.transductive,
                served.description["shots"]["minimum"],
                folders=False,
            )
        ),
        *(f"Warning: {warning}" for warning in _warnings(bench)),
    ]


def query_lines(bench: Workbench, table: PredictionTable | None, none_of_these: bool) -> list[str]:
    """How the predictions are to be taken.

    Args:
        bench: `Workbench`.
        table: `PredictionTable` or None. What `bench.table(none_of_these)` gave.
        none_of_these: bool. Whether images may be of none of the classes.

    Returns:
        list of str, empty without predictions.
    """
    if table is None:
        return []
    served = bench.model.served
    return [
        *prediction_words.how_lines(served.description, served.steps, len(table.images)),
        *([_rejection_line(bench, table)] if none_of_these else []),
        probabilities_line(served.calibration),
    ]


def suspects(bench: Workbench) -> dict[tuple[str, int], str]:
    """Support images that look like another class than their own.

    Args:
        bench: `Workbench`.

    Returns:
        dict from the class and the place in it to the class that the image looks like.
    """
    left_out = bench.left_out()
    if left_out is None:
        return {}
    classes, labels = bench.support.classes, np.array(bench.support.labels)
    told = zip(left_out.indices, left_out.predictions, strict=True)
    return {
        (classes[labels[index]], int((labels[:index] == labels[index]).sum())): classes[prediction]
        for index, prediction in told
        if prediction != labels[index]
    }


def as_alert(message: str) -> str:
    """What was refused, as HTML; nothing where nothing was.

    Args:
        message: str, one sentence.

    Returns:
        str.
    """
    return f'<p role="alert">{html.escape(message)}</p>' if message else ""


def as_list(lines: Sequence[str]) -> str:
    """Lines as an HTML list.

    Args:
        lines: sequence of str. Names of files and classes are text in it, whatever they contain.

    Returns:
        str.
    """
    if not lines:
        return ""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def as_table(table: PredictionTable) -> str:
    """Predictions as an HTML table: the probability of every class, or of the likeliest of many.

    Args:
        table: `PredictionTable`.

    Returns:
        str.
    """
    few = len(table.classes) <= MOST_COLUMNS
    heads = ["image", "prediction", *(table.classes if few else ["likeliest classes"])]
    rows = [
        [name, best, *([f"{p:.3f}" for p in row] if few else [_likeliest(table, row)])]
        for name, best, row in zip(
            table.images, table.predictions, table.probabilities, strict=True
        )
    ]
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)


def _likeliest(table: PredictionTable, row: np.ndarray) -> str:
    best = np.argsort(-row, kind="stable")[:LIKELIEST]
    return ", ".join(f"{table.classes[index]} {row[index]:.3f}" for index in best)


def _rejection_line(bench: Workbench, table: PredictionTable) -> str:
    try:
        rejection = bench.rejection()
    except ValueError as error:
        return str(error)
    return rejection.line(int(table.rejected.sum()), len(table.images))


def _warnings(bench: Workbench) -> list[str]:
    support, queries = bench.support, bench.queries
    support_images, query_images = (
        np.array(bench.pixels(one.files), "uint8") for one in (support, queries)
    )
    mean = bench.model.served.trained_on.get("mean_pixel")
    return support_report.warnings_of(support, support_images, queries, query_images, mean)
