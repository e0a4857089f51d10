"""Refusals of arguments that a learner cannot work with."""

from kfsl import argument_checks
from kfsl.argument_checks import is_number, told


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses an argument that is not one of its choices.

    Raises:
        ValueError: naming the argument, the choices and what was received.
    """
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {choices}; received {value!r}.")


def check_whole_numbers(minimum: int, **values: int | None) -> None:
    """Refuses what is not a whole number of at least so much; None is no number.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    for name, value in values.items():
        if value is not None:
            argument_checks.check_whole(f"`{name}`", value, minimum)


def check_numbers(minimum: float | None = None, **values: float | None) -> None:
    """Refuses what is no finite number, or too small; None is no number.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    for name, value in values.items():
        if value is not None:
            argument_checks.check_number(f"`{name}`", value, minimum)


def check_positive(**values: float) -> None:
    """Refuses what is no finite number above 0.

    Raises:
        ValueError: naming the argument, what it must be, and what was received.
    """
    for name, value in values.items():
        if not (is_number(value) and value > 0):
            raise ValueError(f"`{name}` must be a positive number; received {told(value)}.")
