"""Rows of results as a Markdown page."""

import os
from collections.abc import Iterable, Sequence
from itertools import groupby

from kfsl.evidence.registry import ROWS
from kfsl.evidence.row import ResultsRow
from kfsl.evidence.table_line import TableLine

HEADER = """# Results

Made by `python -m kfsl.results` from the evidence in `results/`; do not edit. Accuracies are in
per cent, errors are mean squared errors, of which less is better, returns sums of rewards: the mean
over episodes ± its 95 % interval (1.96 · std / √episodes); of several seeds, which meet the same
episodes, the mean. A row is met when ours and its interval reach the paper's number. A difference
is one on the same episodes, with its own interval. Training time is that of one run on the named
machine. `python -m kfsl.reproduce --row=NAME --results=FOLDER/results --runs=FOLDER/runs` makes
a row anew.
"""
COLUMNS = (
    "Method", "Data and protocol", "Setting", "Paper", "Ours", "Reached", "Beside", "Episodes",
    "Seeds", "Updates", "Training", "Hardware", "Commit", "Evidence",
)  # fmt: skip
_PLACE = {row.name: place for place, row in enumerate(ROWS)}
_PAPERS = list(dict.fromkeys(row.paper for row in ROWS))


def results_page(rows: Sequence[ResultsRow]) -> str:
    """The whole page; the same rows give the same text.

    Args:
        rows: sequence of `ResultsRow`, in any order.

    Returns:
        str, Markdown.

    Raises:
        ValueError: if the runs of a row do not fit together.
    """
    ordered = sorted(rows, key=lambda row: row.name)
    lines = [TableLine(list(runs)) for _, runs in groupby(ordered, key=lambda row: row.name)]
    by_name = {line.name: line for line in lines}
    lines.sort(key=_order)
    parts = [HEADER]
    for table, members in groupby(lines, key=lambda line: line.first.fields["table"]):
        parts.append(_table(table, list(members), by_name))
    if not lines:
        parts.append("No evidence yet.\n")
    return "\n".join(parts)


def _order(line: TableLine) -> tuple:
    """The registry's papers and rows in its order, then others by name."""
    fields = line.first.fields
    table = fields["table"]
    paper = _PAPERS.index(table) if table in _PAPERS else len(_PAPERS)
    names = (fields["dataset"], fields["setting"], fields["method"], line.first.folder)
    return (paper, table, _PLACE.get(line.name, len(_PLACE)), names)


def _table(title: str, lines: list[TableLine], by_name: dict[str, TableLine]) -> str:
    text = [f"## {title}", "", _line(COLUMNS), _line("---" for _ in COLUMNS)]
    notes = []
    for line in lines:
        mark = ""
        note = _note(line)
        if note:
            notes.append(f"{len(notes) + 1}. {note}")
            mark = f" [{len(notes)}]"
        text.append(_line(_cells(line, mark, by_name)))
    if notes:
        text += ["", "Notes:", "", *notes]
    waiting = [row.name for row in ROWS if row.paper == title and row.name not in by_name]
    if waiting:
        text += ["", f"Not run yet: {', '.join(waiting)}."]
    return "\n".join(text) + "\n"


def _cells(line: TableLine, mark: str, by_name: dict[str, TableLine]) -> tuple[str, ...]:
    first, evaluation = line.first, line.evaluation
    fields, metadata = first.fields, first.metadata
    machine = metadata["machine"]
    protocol = first.paper_row.protocol if first.paper_row else ""
    return (
        fields["method"] + mark,
        fields["dataset"] + (f"; {protocol}" if protocol else ""),
        fields["setting"] + (" (transductive)" if evaluation.transductive else ""),
        _published(line),
        _ours(line),
        _reached(line),
        _beside(line, by_name),
        str(evaluation.episodes),
        ", ".join(str(run.metadata["seed"]) for run in line.runs),
        f"{metadata['steps']:,}" if "steps" in metadata else "–",
        _duration(metadata["training_seconds"]),
        f"{machine['cpu']}, {machine['cores']} cores",
        _commit(metadata["commit"]),
        ", ".join(_link(run.folder) for run in line.runs),
    )


def _published(line: TableLine) -> str:
    if line.published is None:
        return "–"
    interval, row = line.first.fields["paper_interval"], line.first.paper_row
    source = f" ({row.source})" if row and row.source else ""
    return f"{line.published:g}" + (f" ± {interval:g}" if interval else "") + source


def _ours(line: TableLine) -> str:
    text = line.measure.number(line.evaluation.mean, line.evaluation.interval)
    if len(line.runs) == 1:
        return text
    each = ", ".join(line.measure.number(run.evaluation.mean) for run in line.runs)
    return f"{text} ({each})"


def _reached(line: TableLine) -> str:
    if line.published is None:
        return "–"
    gap, digits = line.mean - line.published, line.measure.digits
    return f"met, {gap:+.{digits}f}" if line.met else f"{abs(gap):.{digits}f} short"


def _beside(line: TableLine, by_name: dict[str, TableLine]) -> str:
    row = line.first.paper_row
    other = by_name.get(row.against) if row and row.against else None
    difference = line.beside(other) if other else None
    if difference is None:
        return "–"
    told = line.measure.number(difference.mean, difference.interval, sign=True)
    text = f"{told} against {other.first.fields['method']}"
    if line.published is None or other.published is None:
        return text
    return f"{text}; paper {line.published - other.published:+.{line.measure.digits}f}"


def _note(line: TableLine) -> str:
    told = [_plain(run.fields["note"]) for run in line.runs if run.fields["note"]]
    curve = line.first.curve
    if line.met is False and curve is not None:
        told.append(f"Validation: {curve.summary()}.")
    return " ".join(told)


def _link(folder: str) -> str:
    folder = folder.replace(os.sep, "/")
    return f"[{folder.rsplit('/', 1)[-1]}]({folder})"


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
