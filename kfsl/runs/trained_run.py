"""What a finished run offers to the commands that look at it; nothing slow is imported."""

import os

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.learner_file import file_fingerprint
from kfsl.runs.paired_difference import differences
from kfsl.runs.run_directory import RunDirectory


def check_trained(run: RunDirectory) -> None:
    """Refuses a folder that is no run, or a run that has no learner yet.

    Args:
        run: `RunDirectory`.

    Raises:
        RunDirectoryError: if it is no run directory.
        FileNotFoundError: if nothing was trained.
    """
    _ = run.config
    if not os.path.isfile(run.best_learner):
        raise FileNotFoundError(
            f"{run.path!r} has no trained learner yet: continue its training with "
            f"python -m kfsl.train --run_dir={run.path}"
        )


def weights_fingerprint(run: RunDirectory) -> str:
    """SHA-256 (hex) of the file of the best weights, as it is now.

    What was loaded may be an earlier one, if the run still trains: see `Experiment.weights`.
    """
    return file_fingerprint(run.best_learner)


def stored_evaluation(run: RunDirectory, split: str) -> Evaluation:
    """What `kfsl.evaluate` wrote for a split.

    Args:
        run: `RunDirectory`.
        split: str.

    Returns:
        `Evaluation`.

    Raises:
        RunDirectoryError: if it is no run directory.
        FileNotFoundError: if the run was not evaluated on that split.
    """
    _ = run.config
    path = run.evaluation_path(split)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{run.path!r} was not evaluated on the split {split!r}; first run "
            f"python -m kfsl.evaluate --run_dir={run.path} --split={split}"
        )
    return Evaluation.load(path)


def fitting_evaluation(run: RunDirectory, like: Evaluation) -> Evaluation | None:
    """What is stored of a run, if it is of its present weights, and of all these episodes.

    Args:
        run: `RunDirectory`.
        like: `Evaluation`, whose episodes count.

    Returns:
        `Evaluation`, or None if the run has to be evaluated.
    """
    path = run.evaluation_path(like.name)
    if not os.path.isfile(path):
        return None
    stored = Evaluation.load(path)
    current = stored.weights == weights_fingerprint(run) and stored.overrides == like.overrides
    enough = stored.episodes >= like.episodes
    return stored if current and enough and not differences(like, stored) else None
