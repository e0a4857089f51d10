"""The one place that knows gin: what can be bound, and what was."""

from kfsl.configurables.bindings import (
    BindingError,
    check_overrides,
    check_used,
    operative,
    parse,
    parse_text,
)
from kfsl.configurables.experiments import (
    check_comparison,
    check_start,
    command_of,
    experiment,
    is_of_episodes,
    trained_experiment,
)
from kfsl.configurables.registry import bound, register

__all__ = [
    "BindingError",
    "bound",
    "check_comparison",
    "check_overrides",
    "check_start",
    "check_used",
    "command_of",
    "experiment",
    "is_of_episodes",
    "operative",
    "parse",
    "parse_text",
    "register",
    "trained_experiment",
]
