"""Writes a learner's file so that nobody ever meets half of it."""

import contextlib
import os

import keras


def save_whole(learner: keras.Model, path: str) -> None:
    """Saves a learner without its optimiser; the file appears, or is replaced, as a whole.

    Args:
        learner: `keras.Model`.
        path: str. A `.keras` file; its folder is made.

    Raises:
        OSError: if it cannot be written; what was there is kept.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path.removesuffix('.keras')}.tmp{os.getpid()}.keras"
    try:
        learner.save(temporary, include_optimizer=False)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
