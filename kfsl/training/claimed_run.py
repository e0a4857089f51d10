"""A run directory that one process at a time trains into."""

import os
from collections.abc import Callable

from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.runs.training_lock import TrainingLock


class ClaimedRun:
    """Takes a run directory for this process, and gives it back.

    Args:
        run: `RunDirectory`.
        writes: bool. Of workers that train together one writes, and takes the run for all.
    """

    def __init__(self, run: RunDirectory, writes: bool = True) -> None:
        self._run = run
        self._writes = writes
        self._lock = TrainingLock(run.lock_path)

    def look(self) -> None:
        """Takes a run that is there already, before it is read.

        Where nothing can be written a finished run can still be told of; a run that is not there
        yet is taken when it is begun.

        Raises:
            RunDirectoryError: if another process trains into it.
        """
        if self._run.exists and self._writes:
            self._acquire(forgiving=True)

    def take(self, moved_on: Callable[[], bool]) -> None:
        """Takes the run, to train into it.

        Args:
            moved_on: function without arguments. Whether another process trained it since it was
                read.

        Raises:
            RunDirectoryError: if another process trains, or trained, into it.
        """
        if self._lock.held or not self._writes:
            return
        os.makedirs(self._run.path, exist_ok=True)
        self._acquire()
        if moved_on():
            self.release()
            raise RunDirectoryError(
                f"{self._run.path!r} was trained by another process meanwhile. Start the same "
                "command again to go on from there."
            )

    def tell_end(self, moved_on: Callable[[], bool], steps: int) -> None:
        """Writes the end of a training that was killed between its last checkpoint and its end.

        Args:
            moved_on: function without arguments, as of `take`.
            steps: int. All that were trained.

        Raises:
            RunDirectoryError: if another process trains, or trained, into it.
        """
        if self._run.finished or not self._writes:
            return
        self.take(moved_on)
        try:
            self._run.end(steps)
        finally:
            self.release()

    def release(self) -> None:
        """Gives it back, if it was taken."""
        self._lock.release()

    def _acquire(self, forgiving: bool = False) -> None:
        try:
            holder = self._lock.acquire()
        except OSError:
            if forgiving:
                return
            raise
        if holder is not None:
            raise RunDirectoryError(
                f"{self._run.path!r} is being trained by {holder}. Wait for it, end it, or name "
                "another --run_dir."
            )
