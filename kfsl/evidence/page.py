"""Rows of results as a Markdown page."""

import os
from collections.abc import Iterable, Sequence
from itertools import groupby

from kfsl.evidence.row import ResultsRow

HEADER = """# Results

Made by `python -m kfsl.results` from the evidence in `results/`; do not edit. Accuracies are in
per cent, the mean over episodes ± its 95 % interval (1.96 · std / √episodes). A difference is
ours minus the paper's, in points. Training time is that of one run on the named machine.
"""
COLUMNS = (
    "Method", "Dataset", "Setting", "Paper", "Ours", "Difference", "Episodes", "Seed",
    "Training", "Hardware", "Commit", "Evidence",
)  # fmt: skip


def results_page(rows: Sequence[ResultsRow]) -> str:
    """The whole page; the same rows give the same text.

    Args:
        rows: sequence of `ResultsRow`, in any order.

    Returns:
        str, Markdown.
    """
    ordered = sorted(rows, key=_order)
    parts = [HEADER]
    for table, members in groupby(ordered, key=lambda row: row.fields["table"]):
        parts.append(_table(table, list(members)))
    if not ordered:
        parts.append("No evidence yet.\n")
    return "\n".join(parts)


def _order(row: ResultsRow) -> tuple[str, ...]:
    fields = row.fields
    return (fields["table"], fields["dataset"], fields["setting"], fields["method"], row.folder)


def _table(title: str, rows: list[ResultsRow]) -> str:
    lines = [f"## {title}", "", _line(COLUMNS), _line("---" for _ in COLUMNS)]
    notes = []
    for row in rows:
        mark = ""
        if row.fields["note"]:
            notes.append(f"{len(notes) + 1}. {_plain(row.fields['note'])}")
            mark = f" [{len(notes)}]"
        lines.append(_line(_cells(row, mark)))
    if notes:
        lines += ["", "Notes:", "", *notes]
    return "\n".join(lines) + "\n"


def _cells(row: ResultsRow, mark: str) -> tuple[str, ...]:
    fields, evaluation, metadata = row.fields, row.evaluation, row.metadata
    paper, interval = fields["paper"], fields["paper_interval"]
    folder = row.folder.replace(os.sep, "/")
    machine = metadata["machine"]
    return (
        fields["method"] + mark,
        fields["dataset"],
        fields["setting"] + (" (transductive)" if evaluation.transductive else ""),
        "–" if paper is None else f"{paper:g}" + (f" ± {interval:g}" if interval else ""),
        f"{row.accuracy:.2f} ± {row.interval:.2f}",
        "–" if paper is None else f"{row.accuracy - paper:+.2f}",
        str(evaluation.episodes),
        str(metadata["seed"]),
        _duration(metadata["training_seconds"]),
        f"{machine['cpu']}, {machine['cores']} cores",
        _commit(metadata["commit"]),
        f"[{folder.rsplit('/', 1)[-1]}]({folder})",
    )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _commit(commit: str | None) -> str:
    if not commit:
        return "–"
    revision, _, changes = commit.partition("+")
    return revision[:10] + (f" + {changes}" if changes else "")
