"""Refusals of training arguments, told where the arguments enter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from kfsl.argument_checks import check_made


def check_optimizer(name: str, value: Any) -> None:
    """Refuses what is no Keras optimiser; None is the default.

    Raises:
        ValueError: naming the argument, how it is bound, and what was received.
    """
    if value is not None:
        check_made(name, value, keras.optimizers.Optimizer, "a Keras optimiser", "Adam")


def check_listed(name: str, values: Any, kind: str, fits: Callable[[Any], bool]) -> None:
    """Refuses what is not a list or tuple of one kind of thing.

    Args:
        name: str. The argument.
        values: what was received.
        kind: str. What each must be, for the message.
        fits: callable. Whether one of them is of that kind.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    if isinstance(values, list | tuple) and all(fits(value) for value in values):
        return
    raise ValueError(
        f"{name} must be a tuple of {kind}, such as (A, B) or (A,); received {values!r}."
    )


def check_steps(name: str, value: Any) -> None:
    """Refuses what is not a first and a last step; None is none.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    if value is None:
        return
    pair: Iterable[Any] = value if isinstance(value, Sequence) else ()
    whole = [isinstance(step, int) and not isinstance(step, bool) for step in pair]
    if whole == [True, True] and 1 <= value[0] <= value[1]:
        return
    raise ValueError(
        f"{name} must be the first and the last step, such as (10, 20), or None; "
        f"received {value!r}."
    )
