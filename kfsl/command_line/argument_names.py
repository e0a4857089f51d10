"""Which arguments a configurable takes, those that its `**kwargs` hand on included."""

import inspect
from typing import Any


def argument_names(configurable: Any) -> list[str]:
    """The names that a function or class takes; a learner, those of its base classes too.

    Args:
        configurable: function or class.

    Returns:
        list of str.
    """
    parameters = list(inspect.signature(configurable).parameters)
    if "kwargs" in parameters and inspect.isclass(configurable):
        for base in configurable.__bases__:
            if base.__module__.startswith("kfsl.learners."):
                parameters += argument_names(base)
    return [name for name in dict.fromkeys(parameters) if name != "kwargs"]
