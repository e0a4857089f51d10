"""Two runs compared on the same episodes, and what is written of it."""

import dataclasses
import hashlib
import os
from typing import Any

from kfsl.runs.evaluation_name import overridden_name
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import read_json, write_json
from kfsl.runs.paired_difference import paired_by_mode, paired_difference
from kfsl.runs.run_directory import RunDirectory


def compared(
    run: RunDirectory, against: RunDirectory, found: Evaluation, other: Evaluation
) -> list[str]:
    """Writes the paired difference of two evaluations, but never over one of more episodes.

    Args:
        run: `RunDirectory`, which it is written into.
        against: `RunDirectory`.
        found: `Evaluation` of `run`.
        other: `Evaluation` of `against`, on the same episodes or more.

    Returns:
        list of str, lines for people.

    Raises:
        ValueError: if they saw different episodes.
    """
    difference = paired_difference(found, other)
    other_name = os.path.basename(against.path.rstrip("/"))
    name = overridden_name(f"{found.name}_against_{other_name}", found.overrides)
    path, known = _place(run, name, against)
    values = {
        "split": found.split,
        "against": against.path,
        # Of the same episodes: it may have been evaluated on more.
        "against_mean": dataclasses.replace(other, values=other.values[: found.episodes]).mean,
        "weights": found.weights,
        "against_weights": other.weights,
        "overrides": found.overrides,
    }
    apart = paired_by_mode(found, other)
    lines = [f"against {against.path}: {other.summary()}", difference.summary()]
    lines += apart.lines()
    same = all(known.get(key) == values[key] for key in ("weights", "against_weights", "overrides"))
    if same and known.get("episodes", 0) > difference.episodes:
        lines.append(f"not written: {path} has {known['episodes']} episodes")
    else:
        write_json(path, {**values, **dataclasses.asdict(difference), **apart.to_json()})
    if found.transductive != other.transductive:
        which = "this run" if found.transductive else against.path
        lines.append(f"mind that {which} is transductive: its queries share their statistics")
    return lines


def _place(run: RunDirectory, name: str, against: RunDirectory) -> tuple[str, dict[str, Any]]:
    """Where a comparison is written, and what is there of the same two runs."""
    path = run.evaluation_path(name)
    known = read_json(path) if os.path.isfile(path) else {}
    whole = os.path.abspath(against.path)
    if os.path.abspath(known.get("against", whole)) == whole:
        return path, known
    # Of another folder that is called alike.
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    path = run.evaluation_path(f"{name}_{digest}")
    return path, read_json(path) if os.path.isfile(path) else {}
