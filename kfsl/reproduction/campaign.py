"""Works through rows: trains, evaluates and collects, each step a process of its own."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from kfsl.evidence.collection import collect, collect_experts, generate
from kfsl.evidence.paper_row import PaperRow
from kfsl.evidence.registry import paper_row
from kfsl.reproduction.row_run import DONE, RowRun
from kfsl.runs.trained_run import stored_evaluation, weights_fingerprint
from kfsl.runs.training_lock import TrainingLock

#: `PR_SET_PDEATHSIG` of Linux.
_PARENT_DEATH_SIGNAL = 1


class CampaignError(RuntimeError):
    """A step of a row that failed, or a campaign that another process runs."""


class Campaign:
    """Makes the evidence of rows, one after another.

    Everything a step leaves is on disk, so a campaign that was killed goes on with the step that
    it was in, from its last checkpoint. The processes it starts end with it.

    Args:
        runs: str. The folder of run directories.
        results: str. The folder of evidence.
        page: str. The page that is made of it.
        threads: int. Threads of a run that is begun; one that goes on has those it began with.
        niceness: int. 0 to 19; how far its processes stand back for others.
    """

    def __init__(self, runs: str, results: str, page: str, threads: int, niceness: int) -> None:
        if threads < 1:
            raise ValueError(f"--threads must be at least 1; received {threads}.")
        if not 0 <= niceness <= 19:
            raise ValueError(f"--niceness must be 0 to 19; received {niceness}.")
        self.runs = runs
        self.results = results
        self.page = page
        self.threads = threads
        self.niceness = niceness
        self._lock = TrainingLock(os.path.join(runs, "campaign.lock"))

    def row_runs(self, rows: Sequence[PaperRow]) -> list[RowRun]:
        """Each row's runs, of all its seeds: first seeds first, so that each row has one soon.

        Args:
            rows: sequence of `PaperRow`.

        Returns:
            list of `RowRun`.
        """
        most = max(len(row.seeds) for row in rows)
        return [
            RowRun(row, row.seeds[place], self.runs, self.results)
            for place in range(most)
            for row in rows
            if place < len(row.seeds)
        ]

    def work(self, row_runs: Sequence[RowRun]) -> Iterator[str]:
        """Makes the evidence that is missing.

        Args:
            row_runs: sequence of `RowRun`.

        Yields:
            str, a line for people after each run.

        Raises:
            CampaignError: if another process works in the same folder; or, after all others
                were made, if some runs failed.
        """
        os.makedirs(self.runs, exist_ok=True)
        holder = self._lock.acquire()
        if holder is not None:
            raise CampaignError(f"{self.runs!r} is being worked in by {holder}.")
        failed = {}
        try:
            for run in row_runs:
                if run.state == DONE:
                    continue
                try:
                    yield self._make(run)
                except (CampaignError, OSError, ValueError) as error:
                    failed[run.name] = str(error)
                    yield f"{run.name} failed: {error}"
        finally:
            self._lock.release()
        if failed:
            raise CampaignError(f"{len(failed)} failed: {', '.join(failed)}.")

    def _make(self, run: RowRun) -> str:
        if run.row.experts:
            row = collect_experts(run.row, self.results, run.seed)
        else:
            self._train(run)
            self._evaluate(run)
            row = collect(run.directory, self.results, run.name, {})
        generate(self.results, self.page)
        return f"{run.name}: {row.evaluation.summary()}"

    def _train(self, run: RowRun) -> None:
        bindings = [f"set_up.threads = {run.threads or self.threads}"]
        bindings += run.row.bindings(run.seed)
        if run.row.starts_from:
            bindings.append(f"train.start_from = {self._beginning(run)!r}")
        self._command(
            "train",
            f"--gin_file={run.row.gin_file}",
            *(f"--gin_param={binding}" for binding in bindings),
            f"--run_dir={run.directory.path}",
        )

    def _beginning(self, run: RowRun) -> str:
        """The run that this one begins with."""
        row = paper_row(run.row.starts_from)
        seed = run.seed if run.seed in row.seeds else row.seeds[0]
        directory = RowRun(row, seed, self.runs, self.results).directory
        if not directory.finished:
            raise CampaignError(
                f"it begins with the run of {row.name}, which {self.runs!r} does not hold "
                f"finished; first run --row={row.name}"
            )
        return directory.path

    def _evaluate(self, run: RowRun) -> None:
        if not _evaluated(run):
            self._command("evaluate", f"--run_dir={run.directory.path}")

    def _command(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"kfsl.{name}", *arguments]
        done = subprocess.run(command, preexec_fn=self._stand_back, stderr=subprocess.PIPE)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            told = lines[-1] if lines else f"it ended with {done.returncode}"
            raise CampaignError(told)

    def _stand_back(self) -> None:
        """In the child: it stands back for others, and ends when its parent is killed."""
        os.nice(max(0, self.niceness - os.nice(0)))
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _evaluated(run: RowRun) -> bool:
    """Whether the weights as they are now were evaluated, on all episodes."""
    try:
        stored = stored_evaluation(run.directory, "test")
    except FileNotFoundError:
        return False
    current = stored.weights == weights_fingerprint(run.directory)
    return current and stored.episodes >= run.planned_episodes
