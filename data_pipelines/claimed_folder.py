"""A folder to work in, owned by one process at a time."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Only POSIX has it; elsewhere two preparations at a time are not refused.
    fcntl = None


@contextlib.contextmanager
def claimed_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside the store that one process owns; gone at the end, whatever happens.

    Args:
        path: `pathlib.Path`. The store that is to be made.

    Yields:
        `pathlib.Path`, the folder.

    Raises:
        ValueError: another process makes this store.
    """
    partial = path.parent / f".{path.name}.partial"
    partial.mkdir(exist_ok=True)
    handle = os.open(partial, os.O_RDONLY)
    try:
        _lock(handle, path)
        # A process that was killed may have left files.
        for entry in partial.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"Another process is preparing {path} at this moment; wait for it to end."
        ) from error
