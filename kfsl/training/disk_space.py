"""Tells a full disk from other errors, whichever library met it."""

import errno

import tensorflow as tf

FULL = (errno.ENOSPC, errno.EDQUOT)

#: What HDF5 and TensorFlow say of it; neither passes the number on.
WORDS = ("No space left on device", "Disk quota exceeded")


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
