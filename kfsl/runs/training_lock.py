"""Keeps two trainings out of one run directory."""

import errno
import fcntl
import json
import os
import socket
import weakref

#: What a file system answers on which files cannot be locked: there nothing is guarded.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class TrainingLock:
    """Held by the process that trains into a run directory.

    The operating system holds it, not the file: it goes with the process, however that ends,
    and the file that stays behind locks nothing. The file names who holds it.

    Args:
        path: str. The file; its folder must exist when the lock is taken.

    Example:
    ```python
    import os
    import tempfile

    from kfsl.runs.training_lock import TrainingLock

    path = os.path.join(tempfile.mkdtemp(), "training.lock")
    first, second = TrainingLock(path), TrainingLock(path)
    assert first.acquire() is None
    assert f"process {os.getpid()} on " in second.acquire()
    first.release()
    assert second.acquire() is None
    second.release()
    ```
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._close: weakref.finalize | None = None

    @property
    def held(self) -> bool:
        """Whether it is this object that holds the lock."""
        return self._close is not None

    def acquire(self) -> str | None:
        """Takes the lock, if nobody has it.

        Returns:
            None if it is held now; else who holds it.

        Raises:
            OSError: if the file cannot be written.
        """
        if self.held:
            return None
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            return holder
        except BaseException:
            os.close(descriptor)
            raise
        text = json.dumps({"process": os.getpid(), "host": socket.gethostname()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        self._close = weakref.finalize(self, os.close, descriptor)
        return None

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._close is not None:
            self._close()
            self._close = None


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _holder(descriptor: int) -> str:
    try:
        told = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {told['process']} on {told['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # It has the lock and has not yet written its name.
