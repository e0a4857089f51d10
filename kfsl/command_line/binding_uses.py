"""Which bindings of a configuration were used: a matter of names, gin is not asked."""

from collections.abc import Iterable, Sequence

#: Scope, selector and argument, as `kfsl.command_line.gin_files.bindings` gives them.
Binding = tuple[str, str, str]


def is_used(binding: Binding, uses: Iterable[Binding]) -> bool:
    """Whether a binding gave one of the values that were used.

    Args:
        binding: triple of str.
        uses: triples of str, what was used.

    Returns:
        bool.

    Example:
    ```python
    from kfsl.command_line.binding_uses import is_used

    uses = [("evaluation", "fixed_episode", "ways")]
    assert is_used(("", "samplers.fixed_episode", "ways"), uses)
    assert not is_used(("train", "fixed_episode", "ways"), uses)
    ```
    """
    return any(_applies(binding, use) for use in uses)


def decides(binding: Binding, known: Sequence[Binding], uses: Iterable[Binding]) -> bool:
    """Whether a binding gave a value that no binding of a narrower scope gave instead.

    Args:
        binding: triple of str.
        known: triples of str, all bindings of the configuration.
        uses: triples of str, what was used.

    Returns:
        bool.
    """
    narrower = [other for other in known if _is_narrower(other, binding)]
    return any(_applies(binding, use) and not _gave(narrower, use) for use in uses)


def _gave(bindings: Iterable[Binding], use: Binding) -> bool:
    return any(_applies(binding, use) for binding in bindings)


def _is_narrower(binding: Binding, than: Binding) -> bool:
    return _applies(than, binding) and binding[0] != than[0]


def _applies(binding: Binding, use: Binding) -> bool:
    (scope, *name), (used_scope, *used_name) = binding, use
    parts, used_parts = ([p for p in s.split("/") if p] for s in (scope, used_scope))
    same = [part.split(".")[-1] for part in name] == [part.split(".")[-1] for part in used_name]
    return same and used_parts[: len(parts)] == parts
