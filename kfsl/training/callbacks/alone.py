"""Callbacks of one worker among many."""

import functools
from typing import Any

import keras

from kfsl.distribution import strategy


class Alone(keras.callbacks.Callback):
    """Calls another callback such that what it makes and computes is this process's own.

    Under a strategy making a variable, say, is a matter of all workers; they would wait for those
    that do not come.

    Args:
        callback: `keras.callbacks.Callback`.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        for name in dir(keras.callbacks.Callback):
            if name.startswith(("on_", "set_")):
                setattr(self, name, functools.partial(_call, getattr(callback, name)))


def _call(method: Any, *args: Any, **kwargs: Any) -> Any:
    with strategy.alone():
        return method(*args, **kwargs)
