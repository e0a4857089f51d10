"""Refusals of arguments that a learner cannot work with."""


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses an argument that is not one of its choices.

    Raises:
        ValueError: naming the argument, the choices and what was received.
    """
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {choices}; received {value!r}.")


def check_at_least(minimum: int, **values: float | None) -> None:
    """Refuses numbers that are too small; None is no number.

    Raises:
        ValueError: naming the argument, the smallest number and what was received.
    """
    for name, value in values.items():
        if value is not None and value < minimum:
            raise ValueError(f"`{name}` must be at least {minimum}; received {name}={value}.")
