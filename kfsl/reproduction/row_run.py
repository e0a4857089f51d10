"""How far the run of a paper's row is, told from its files alone."""

import dataclasses
import os
import re
import statistics

from kfsl.command_line import gin_files
from kfsl.evidence.paper_row import PaperRow
from kfsl.runs.run_directory import RunDirectory

DONE, TRAINED, BEGUN, MISSING = "done", "trained", "begun", "missing"


@dataclasses.dataclass(frozen=True)
class RowRun:
    """One seed's run of a row.

    Args:
        row: `PaperRow`.
        seed: int.
        runs: str. The folder of run directories.
        results: str. The folder of evidence.

    Example:
    ```python
    from kfsl.evidence.registry import paper_row
    from kfsl.reproduction.row_run import RowRun

    run = RowRun(paper_row("omniglot_stanet_5way_1shot_3layers"), 0, "no_runs", "no_results")
    assert (run.state, run.updates, run.planned_updates) == ("missing", 0, 20_000)
    ```
    """

    row: PaperRow
    seed: int
    runs: str
    results: str

    @property
    def name(self) -> str:
        """Of the run directory and of the folder of evidence."""
        return self.row.folder(self.seed)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(os.path.join(self.runs, self.name))

    @property
    def evidence(self) -> str:
        """The folder of its evidence, whether it is there or not."""
        return os.path.join(self.results, self.name)

    @property
    def state(self) -> str:
        """`done` with evidence, `trained` without, `begun` or `missing`."""
        if os.path.isfile(os.path.join(self.evidence, "evaluation.json")):
            return DONE
        if self.directory.finished:
            return TRAINED
        return BEGUN if self.directory.exists else MISSING

    @property
    def updates(self) -> int:
        """Updates that are trained."""
        return max((line["step"] for line in self.directory.metrics()), default=0)

    @property
    def planned_updates(self) -> int:
        """Updates of the whole training; none of a row that is made of others."""
        run = self.directory
        if self.row.experts:
            return 0
        text = run.config if run.exists else gin_files.text(self.row.gin_file)
        if self.row.trainer == "train_policy":
            return _last(text, "train_policy.iterations", 500)
        return _last(text, "train.epochs", 100) * _last(text, "train.steps_per_epoch", 100)

    @property
    def planned_episodes(self) -> int:
        """Episodes, or tasks, that its evaluation is to have."""
        if self.row.trainer == "train_policy":
            return _last(self.directory.config, "evaluate_policy.episodes", 40)
        return _last(self.directory.config, "evaluate.episodes", 600)

    @property
    def seconds_left(self) -> float | None:
        """Of training and validation, as measured so far; None where nothing was measured."""
        lines = [line for line in self.directory.metrics() if line.get("seconds")]
        if not lines:
            return None
        left = (self.planned_updates - self.updates) * lines[-1]["epoch"] / lines[-1]["step"]
        validations = [line["validation_seconds"] for line in lines if "validation_seconds" in line]
        # Medians: a process that was stopped for a while is no slower afterwards.
        seconds = statistics.median(line["seconds"] for line in lines)
        if validations:
            seconds += statistics.median(validations) * len(validations) / len(lines)
        return left * seconds

    @property
    def threads(self) -> int | None:
        """Threads of a run that has begun: to the bit it goes on with no other number."""
        run = self.directory
        if not run.exists:
            return None
        return _last(run.config, "set_up.threads", 0) or None


def _last(text: str, binding: str, default: int) -> int:
    """The whole number that is bound last."""
    found = re.findall(rf"^{re.escape(binding)} = (\d+)", text, re.MULTILINE)
    return int(found[-1]) if found else default
