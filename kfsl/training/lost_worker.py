"""Tells that a worker is gone from other errors."""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from kfsl.distribution import strategy

#: What TensorFlow raises in the workers that are left.
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@contextlib.contextmanager
def lost_worker_told(what: Callable[[], str], error_type: type[Exception]) -> Iterator[None]:
    """Says of a worker that is gone what is kept, and what to do.

    Args:
        what: function without arguments. What is kept, for the message.
        error_type: type. Of the exception that is raised.
    """
    try:
        yield
    except LOST as error:
        if not strategy.spans_workers():
            raise
        raise error_type(
            f"Another worker is gone, and worker {strategy.worker()} cannot go on alone: "
            f"{what()}. Start all workers again to go on from there."
        ) from error
