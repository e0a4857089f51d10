"""The files of an evaluation that is computed in parts."""

import contextlib
import glob
import os
import re

from kfsl.evaluation import parts
from kfsl.evaluation.parts import EvaluationPart
from kfsl.objectives.objective import Objective
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory


def save(part: EvaluationPart, run: RunDirectory, name: str) -> str:
    """Writes a part beside the evaluations of its run.

    Args:
        part: `EvaluationPart`.
        run: `RunDirectory`.
        name: str. Of the evaluation.

    Returns:
        str, a line for people.
    """
    place, count = part.shard
    path = _path(run, name, place, count)
    part.save(path)
    episodes = sum(len(batch.labels) for batch in part.batches)
    return (
        f"part {place} of {count}, {episodes} of {part.episodes} episodes, is in {path}; when all "
        "are there: the same command with --merge in the place of --shard"
    )


def merged(
    run: RunDirectory, name: str, objective: Objective, weights: str, episodes: int | None = None
) -> Evaluation:
    """Puts the parts of an evaluation together.

    Args:
        run: `RunDirectory`.
        name: str. Of the evaluation.
        objective: `Objective` of the run's learner.
        weights: str. SHA-256 of the weights that the run has by now.
        episodes: int or None. How many there are to be; None: as many as the parts say.

    Returns:
        `Evaluation`.

    Raises:
        ValueError: naming a part that is missing, or is not what it should be.
    """
    paths = _paths(run, name)
    count = len(paths)
    for place in range(count):
        if not os.path.isfile(paths[place]):
            raise ValueError(
                f"Part {place} of {count} is missing: there is no {paths[place]}. Compute it: "
                f"python -m kfsl.evaluate --run_dir={run.path} --shard={place}/{count}, with the "
                "options of the others."
            )
    found = parts.merged([EvaluationPart.load(path) for path in paths], objective)
    if found.weights != weights:
        raise ValueError(
            f"The parts are of other weights than {run.best_learner} has by now. Compute them "
            "again, all with the same."
        )
    if episodes is not None and episodes != found.episodes:
        raise ValueError(f"The parts are of {found.episodes} episodes, and not {episodes}.")
    return found


def remove(run: RunDirectory, name: str) -> None:
    """Removes the parts of an evaluation that is written as a whole."""
    paths = _paths(run, name)
    for path in paths:
        os.remove(path)
    with contextlib.suppress(OSError):  # Of another evaluation there may be more.
        os.rmdir(os.path.dirname(paths[0]))


def _path(run: RunDirectory, name: str, place: int, count: int) -> str:
    folder = os.path.dirname(run.evaluation_path(name))
    return os.path.join(folder, "parts", f"{name}_{place}_of_{count}.npz")


def _paths(run: RunDirectory, name: str) -> list[str]:
    """Where all parts are to be, as those that are there say."""
    pattern = re.escape(_path(run, name, 0, 0)).replace("_0_of_0", r"_\d+_of_(\d+)")
    folder = os.path.dirname(_path(run, name, 0, 0))
    found = [
        re.fullmatch(pattern, path)
        for path in glob.glob(os.path.join(glob.escape(folder), "*.npz"))
    ]
    counts = sorted({int(match[1]) for match in found if match})
    if not counts:
        raise ValueError(
            f"No part of {name!r} is in {folder}. Compute them first, with the other options as "
            f"they are here: python -m kfsl.evaluate --run_dir={run.path} --shard=0/2, and "
            "--shard=1/2."
        )
    if len(counts) > 1:
        raise ValueError(
            f"{folder} has parts of {' and of '.join(map(str, counts))}; delete those that are "
            "not to count."
        )
    return [_path(run, name, place, counts[0]) for place in range(counts[0])]
