"""The rows as text: what there is, how far it is, and what is left."""

from collections.abc import Sequence

from kfsl.evidence.paper_row import PaperRow
from kfsl.reproduction.row_run import BEGUN, DONE, MISSING, RowRun
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import measure_named


def listing(row_runs: Sequence[RowRun]) -> str:
    """Every row with its paper's number.

    Args:
        row_runs: sequence of `RowRun`.

    Returns:
        str, a line a row below each paper's name.
    """
    rows = list(dict.fromkeys(run.row for run in row_runs))
    lines = []
    for paper in dict.fromkeys(row.paper for row in rows):
        lines.append(paper)
        lines += [f"  {_described(row)}" for row in rows if row.paper == paper]
    return "\n".join(lines)


def _described(row: PaperRow) -> str:
    parts = [row.name, f"paper {_number(row)}"]
    if row.source:
        parts[-1] += f" ({row.source})"
    if row.against:
        parts.append(f"against {row.against}")
    parts.append(f"seeds {', '.join(map(str, row.seeds))}")
    return "; ".join(parts)


def status(row_runs: Sequence[RowRun]) -> str:
    """How far each run is, and the hours left as far as they were measured.

    Args:
        row_runs: sequence of `RowRun`.

    Returns:
        str, a line a run and one for all.
    """
    lines = [_progress(run) for run in row_runs]
    states = [run.state for run in row_runs]
    left = [run.seconds_left for run in row_runs if run.state == BEGUN]
    measured = [seconds for seconds in left if seconds is not None]
    lines.append(
        f"{states.count(DONE)} of {len(states)} runs done; {sum(measured) / 3600:.1f} h left of "
        f"{len(measured)} that are being trained, {states.count(MISSING)} not begun"
    )
    return "\n".join(lines)


def _progress(run: RowRun) -> str:
    state = run.state
    if state == DONE:
        found = Evaluation.load(f"{run.evidence}/evaluation.json")
        ours = found.measure.number(found.mean, found.interval)
        told = f"{ours}, paper {_number(run.row)}"
    elif state == BEGUN:
        left = run.seconds_left
        planned = run.planned_updates
        share = f" ({100 * run.updates / planned:.0f} %)" if planned else ""
        hours = "time left not measured yet" if left is None else f"{left / 3600:.1f} h left"
        told = f"{run.updates:,} of {planned:,} updates{share}, {hours}"
        told += _best(run)
    elif run.row.experts:
        told = f"made of {' and '.join(run.row.experts)}"
    elif state == MISSING:
        told = f"{run.planned_updates:,} updates"
    else:
        told = "to be evaluated"
    return f"{run.name}: {state}; {told}"


def _best(run: RowRun) -> str:
    measure = measure_named(run.directory.validation_metric)
    key = f"val_{measure.name}"
    found = [line[key] for line in run.directory.metrics() if key in line]
    best = max if measure.larger_is_better else min
    return f", validation {measure.number(best(found))} at best" if found else ""


def _number(row: PaperRow) -> str:
    if row.published is None:
        return "none"
    return f"{row.published:g}" + (f" ± {row.interval:g}" if row.interval else "")
