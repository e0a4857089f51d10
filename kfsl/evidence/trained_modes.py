"""Which modes of a mixture a run was trained on, as its configuration says: gin is not asked."""

from collections.abc import Mapping
from typing import Any

from kfsl.command_line.gin_files import Macro, Reference, bound_values

#: Scope, name of the configurable and argument; a macro has its name alone.
Place = tuple[str, str, str]


def modes_of(config: str, where: str = "the configuration") -> tuple[str, ...] | None:
    """The modes that a configuration trains on alone; None if on all of its mixture.

    Args:
        config: str. As gin prints it.
        where: str. Whose configuration, for messages.

    Returns:
        tuple of str, or None.

    Raises:
        GinFileError: if it is no gin text.
        ValueError: if the modes cannot be read from it.

    Example:
    ```python
    from kfsl.evidence.trained_modes import modes_of

    scoped = "Experiment.sampler = @train/mixture_episode"
    assert modes_of(f"{scoped}\\ntrain/mixture_episode.modes = ('photos',)") == ("photos",)
    assert modes_of("OWN = ('photos',)\\nmixture_episode.modes = %OWN") == ("photos",)
    assert modes_of("mixture_episode.modes = None") is None
    ```
    """
    bound = bound_values(config, where)
    sampler = _resolved(bound.get(("", "Experiment", "sampler")), bound)
    modes = None
    # The narrowest scope decides, and it may say None where a wider one names modes.
    for scope in _scopes(sampler):
        modes = bound.get((scope, "mixture_episode", "modes"), modes)
    found = _resolved(modes, bound)
    if found is None:
        return None
    # A reference is a tuple too.
    if type(found) not in (list, tuple) or not all(isinstance(mode, str) for mode in found):
        raise ValueError(
            f"{where}: mixture_episode.modes is bound to {modes!r}, from which the modes cannot be "
            "read. It must be None, names of modes such as ('photos',), or a macro of these: bind "
            "the names themselves."
        )
    return tuple(found)


def _scopes(sampler: Any) -> list[str]:
    """The scopes whose bindings a sampler takes, from the widest to its own."""
    names = sampler.name.split("/")[:-1] if isinstance(sampler, Reference) else []
    return ["/".join(names[:length]) for length in range(len(names) + 1)]


def _resolved(
    value: Any, bound: Mapping[Place, Any], within: frozenset[Place] = frozenset()
) -> Any:
    """A value with those of macros in their place; a macro without a value stays one."""
    if isinstance(value, Macro):
        *scope, name = value.name.split("/")
        place = ("/".join(scope), name, "")
        # One that stands for itself has no value either.
        if place not in bound or place in within:
            return value
        return _resolved(bound[place], bound, within | {place})
    if type(value) in (list, tuple):
        return type(value)(_resolved(each, bound, within) for each in value)
    return value
