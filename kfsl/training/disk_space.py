"""Tells a full disk from other errors, whichever library met it."""

import contextlib
import errno
from collections.abc import Callable, Iterator

import tensorflow as tf

FULL = (errno.ENOSPC, errno.EDQUOT)

#: What HDF5 and TensorFlow say of it; neither passes the number on.
WORDS = ("No space left on device", "Disk quota exceeded")


@contextlib.contextmanager
def full_disk_told(what: Callable[[], str], error_type: type[Exception]) -> Iterator[None]:
    """Says of a full disk what is kept, and what to do.

    Args:
        what: function without arguments. What is kept, for the message.
        error_type: type. Of the exception that is raised.
    """
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        if not is_disk_full(error):
            raise
        raise error_type(
            f"The disk is full: {what()}. Make room, and start the same command again."
        ) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room left to write.

    Args:
        error: exception.

    Returns:
        bool.

    Example:
    ```python
    import errno

    from kfsl.training.disk_space import is_disk_full

    assert is_disk_full(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))
    ```
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    told = isinstance(error, OSError | RuntimeError | tf.errors.OpError)
    return told and any(words in str(error) for words in WORDS)
