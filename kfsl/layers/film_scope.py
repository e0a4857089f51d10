"""Factors and offsets from outside, for normalisations that have none of their own."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras

Film = tuple[Any, Any]


class _Stack(threading.local):
    def __init__(self) -> None:
        self.films: list[Mapping[int, Film]] = []


_STACK = _Stack()


@contextlib.contextmanager
def film_scope(films: Mapping[int, Film]) -> Iterator[None]:
    """Makes each `BatchNormalization` named here multiply and add what is given, at its end.

    Like `moments_scope` it acts while Python runs, in the thread that opened it; the innermost
    scope counts.

    Args:
        films: dict from a layer's `id` to a factor and an offset for each channel, `[C]`.

    Returns:
        A context manager.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.film_scope import film_scope
    from kfsl.layers.normalization import BatchNormalization

    layer = BatchNormalization(center=False, scale=False, epsilon=1e-9)
    with film_scope({id(layer): (np.array([2.0, 3.0]), np.array([1.0, 0.0]))}):
        outputs = layer(np.ones((1, 2), "float32"))
    assert np.allclose(outputs, [[3.0, 3.0]])
    ```
    """
    _STACK.films.append(films)
    try:
        yield
    finally:
        _STACK.films.pop()


def film_behind(layer: keras.layers.Layer) -> Film | None:
    """What the innermost scope has for a layer, if anything."""
    return _STACK.films[-1].get(id(layer)) if _STACK.films else None
