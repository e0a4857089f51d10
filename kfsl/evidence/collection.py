"""Evidence taken from runs, and the page made of it."""

import dataclasses
import os
import re
from typing import Any

from kfsl.evidence.experts import merged
from kfsl.evidence.page import results_page
from kfsl.evidence.paper_row import PaperRow
from kfsl.evidence.registry import paper_row, row_of_folder
from kfsl.evidence.row import ResultsRow
from kfsl.evidence.trained_modes import modes_of
from kfsl.evidence.validation_curve import ValidationCurve
from kfsl.runs.files import read_text, write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, stored_evaluation, weights_fingerprint


def page_beside(results: str) -> str:
    """The page of a folder of evidence: `RESULTS.md` beside it."""
    return os.path.join(os.path.dirname(os.path.normpath(results)), "RESULTS.md")


def generate(results: str, output: str, check: bool = False) -> str:
    """Writes the page, or checks that it is what would be written.

    Args:
        results: str. The folder of evidence.
        output: str. The page.
        check: bool. Write nothing.

    Returns:
        str, a line for people.

    Raises:
        FileNotFoundError: if there is no evidence, or a file of a row is missing.
        ValueError: if the evidence of a row does not fit together, or the page is stale.
    """
    if not os.path.isdir(results):
        raise FileNotFoundError(f"No folder {results!r} of evidence; name it with --results.")
    folders = sorted(entry.path for entry in os.scandir(results) if entry.is_dir())
    page = results_page([ResultsRow.load(folder) for folder in folders])
    if not check:
        write_text(output, page)
        return f"{output}: {len(folders)} rows"
    current = ""
    if os.path.isfile(output):
        with open(output, encoding="utf-8") as file:
            current = file.read()
    if current != page:
        raise ValueError(f"{output} is stale: run python -m kfsl.results and commit it.")
    return f"{output} is up to date: {len(folders)} rows"


def collect(
    run: RunDirectory,
    results: str,
    row: str | None,
    changes: dict[str, str | float | None],
    split: str = "test",
) -> ResultsRow:
    """Copies the evidence of a run into a row's folder.

    Args:
        run: `RunDirectory`, trained and evaluated.
        results: str. The folder of evidence.
        row: str. Name of the row's folder.
        changes: dict. Fields of `row.json`; None keeps what it says.
        split: str. Which evaluation.

    Returns:
        `ResultsRow`.

    Raises:
        FileNotFoundError: if the run was not trained or not evaluated.
        ValueError: if the run is not finished, its weights changed after the evaluation, or a
            field of the row is missing.
    """
    if not row or os.path.basename(row) != row or row.startswith("."):
        raise ValueError(f"--row must name a folder of {results}/; received {row!r}.")
    check_trained(run)
    evaluation = stored_evaluation(run, split)
    if not run.finished:
        raise ValueError(
            f"{run.path!r} is not finished: continue it with "
            f"python -m kfsl.train --run_dir={run.path}"
        )
    if evaluation.weights != weights_fingerprint(run):
        raise ValueError(
            f"{run.path!r} was evaluated before its weights changed: run "
            f"python -m kfsl.evaluate --run_dir={run.path} --split={split}"
        )
    folder = os.path.join(results, row)
    begun = os.path.isfile(os.path.join(folder, "row.json"))
    known = ResultsRow.description(folder) if begun or row_of_folder(row) else {}
    description = {**known, **{name: v for name, v in changes.items() if v is not None}}
    description.setdefault("dataset", evaluation.dataset)
    description.setdefault("setting", evaluation.setting)
    # Where things lie on this machine is no evidence.
    runs = os.path.dirname(os.path.normpath(run.path)) or "runs"
    evaluation = dataclasses.replace(
        evaluation, environment=_portable(evaluation.environment, runs)
    )
    curve = ValidationCurve.of_run(run)
    collected = ResultsRow(folder, description, _portable(run.metadata, runs), evaluation, curve)
    os.makedirs(folder, exist_ok=True)
    write_text(os.path.join(folder, "config.gin"), _portable(run.config, runs))
    collected.save()
    return collected


def collect_experts(row: PaperRow, results: str, seed: int) -> ResultsRow:
    """Makes the evidence of a row whose learner is several runs, one for each mode.

    Args:
        row: `PaperRow`, with `experts`.
        results: str. The folder of evidence, which has that of the experts.
        seed: int.

    Returns:
        `ResultsRow`.

    Raises:
        FileNotFoundError: if an expert's evidence is missing.
        ValueError: if the experts saw different episodes, or their modes cannot be read.
    """
    experts = [
        ResultsRow.load(os.path.join(results, paper_row(name).folder(seed))) for name in row.experts
    ]
    configs = [read_text(os.path.join(expert.folder, "config.gin")) for expert in experts]
    modes = [
        modes_of(config, expert.folder) or ()
        for config, expert in zip(configs, experts, strict=True)
    ]
    evaluation = merged(
        [(own, expert.evaluation) for own, expert in zip(modes, experts, strict=True)]
    )
    first = experts[0].metadata
    metadata = {
        **first,
        **{
            name: sum(expert.metadata.get(name, 0) for expert in experts)
            for name in ("training_seconds", "parameters")
        },
        "experts": [os.path.basename(expert.folder) for expert in experts],
    }
    folder = os.path.join(results, row.folder(seed))
    found = ResultsRow(folder, row.description, metadata, evaluation)
    os.makedirs(folder, exist_ok=True)
    write_text(os.path.join(folder, "config.gin"), configs[0])
    found.save()
    return found


def _portable(value: Any, runs: str) -> Any:
    """What a run tells, without where program and runs lie on this machine."""
    if isinstance(value, dict):
        found = {name: _portable(each, runs) for name, each in value.items()}
        if found.get("command_line"):
            program, *arguments = found["command_line"]
            found["command_line"] = [os.path.basename(program), *arguments]
        return found
    if isinstance(value, list):
        return [_portable(each, runs) for each in value]
    if not isinstance(value, str):
        return value
    # Where a path begins, not within a longer name.
    return re.sub(rf"(?<![\w./-]){re.escape(runs + os.sep)}", "runs/", value)
