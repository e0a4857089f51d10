"""Refusals of arguments of a wrong type or out of range, told where they enter."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

#: Episodes are numbered and seeded in 64 bits.
LARGEST_SEED = 2**63 - 1


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuses what is not a whole number in a range.

    Args:
        name: str. The argument.
        value: what was received.
        least: int. The smallest that is allowed.
        most: int or None. The largest, if there is one.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.

    Example:
    ```python
    from kfsl.argument_checks import check_whole

    check_whole("train.epochs", 3, least=1)
    try:
        check_whole("train.epochs", 1.5, least=1)
    except ValueError as error:
        assert "must be a whole number of at least 1; received 1.5" in str(error)
    ```
    """
    if is_whole(value) and value >= least and (most is None or value <= most):
        return
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number {wanted}; received {told(value)}.")


def check_number(name: str, value: Any, least: float | None = None) -> None:
    """Refuses what is no finite number, or too small.

    Args:
        name: str. The argument.
        value: what was received.
        least: float or None. The smallest that is allowed, if there is one.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    if is_number(value) and (least is None or value >= least):
        return
    wanted = "a number" if least is None else f"a number of at least {least}"
    raise ValueError(f"{name} must be {wanted}; received {told(value)}.")


def check_flag(name: str, value: Any) -> None:
    """Refuses what is neither True nor False.

    Raises:
        ValueError: naming the argument and what was received.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; received {told(value)}.")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return is_whole(value) or (isinstance(value, float | np.floating) and math.isfinite(value))


def check_made(name: str, value: Any, kind: Any, wanted: str, example: str) -> None:
    """Refuses what is no object of a kind, such as a class whose brackets were forgotten.

    Args:
        name: str. The argument.
        value: what was received.
        kind: class, or union of classes.
        wanted: str. What the kind is called, for the message.
        example: str. What makes such an object, as gin files name it.

    Raises:
        ValueError: naming the argument, how it is bound, and what was received.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} must be {wanted}, such as @{example}() with its brackets; received "
            f"{told(value)}."
        )


def told(value: Any) -> str:
    """A value as a message shows it: classes and functions by their names."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}"
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
