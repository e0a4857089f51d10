"""The name of the files of a transference analysis: another question is another file."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

#: Letters, without the ending: no file system takes the names of a great many runs.
LONGEST = 150


def transference_name(
    split: str,
    source_mode: str | None,
    target_mode: str | None,
    changed: Mapping[str, Any],
    beside: str | None = None,
) -> str:
    """The modes, the split, and what is not as it is by default.

    Args:
        split: str. Of the target tasks.
        source_mode: str or None.
        target_mode: str or None.
        changed: mapping from options to a number, or a tuple of numbers or of run directories.
        beside: str or None. A run: of the others, those in its folder are told by their names.

    Returns:
        str.

    Example:
    ```python
    from kfsl.analysis.multimodal.transference_name import transference_name

    name = transference_name("test", "plain", "dark", {"targets": 10})
    assert name == "transference_plain_to_dark_test_targets_10"
    assert transference_name("test", None, None, {}) == "transference_test"
    ```
    """
    modes = (source_mode, "to", target_mode) if source_mode or target_mode else ()
    words = ["transference", *filter(None, modes), split]
    for option, value in changed.items():
        words.append(option)
        words += [_word(each, beside) for each in (value if isinstance(value, tuple) else (value,))]
    name = re.sub(rf"[:@{re.escape(os.sep)}]", "-", "_".join(words))
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _word(value: Any, beside: str | None) -> str:
    if not hasattr(value, "path"):
        return str(value)
    folder, name = os.path.split(os.path.abspath(value.path))
    if beside is None or folder == os.path.dirname(os.path.abspath(beside)):
        return name
    return f"{name}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"
