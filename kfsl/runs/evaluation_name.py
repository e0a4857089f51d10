"""What the file of an evaluation is called."""

import hashlib


def evaluation_name(split: str, base_classes: bool, open_set: bool) -> str:
    """The name of an evaluation, and of its file.

    Args:
        split: str.
        base_classes: bool. Whether queries may be of base classes too.
        open_set: bool. Whether some are of no class of their episode.

    Returns:
        str.
    """
    return f"{split}{'_and_base' * base_classes}{'_open_set' * open_set}"


def overridden_name(name: str, bindings: list[str]) -> str:
    """The name of an evaluation whose bindings are not the run's own.

    Args:
        name: str. As it would be called without them.
        bindings: list of str.

    Returns:
        str.
    """
    if not bindings:
        return name
    return f"{name}_overridden_{hashlib.sha256(chr(10).join(bindings).encode()).hexdigest()[:8]}"
