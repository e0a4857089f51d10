"""What of a run's configuration may change: how long it trains, upwards."""

import re

#: Of policies, iterations.
EPOCHS = re.compile(r"^(?:train\.epochs|train_policy\.iterations) = (\d+)$", re.MULTILINE)


def first_difference(old: str, new: str) -> str:
    """Where two configurations differ, in words; empty if they do not.

    Args:
        old: str. As gin prints it.
        new: str. As gin prints it.

    Returns:
        str, such as `there WAYS = 5, here WAYS = 3`.
    """
    old_lines, new_lines = (
        [line for line in text.splitlines() if line and not line.startswith("#")]
        for text in (old, new)
    )
    missing = [line for line in old_lines if line not in new_lines]
    added = [line for line in new_lines if line not in old_lines]
    if missing and added:
        return f"there {missing[0].strip()}, here {added[0].strip()}"
    if missing or added:
        where = "only there" if missing else "only here"
        return f"{where} {(missing + added)[0].strip()}"
    return ""


def grown_epochs(old: str, new: str, operative: str = "") -> tuple[int, int] | None:
    """The epochs of two configurations, if the second has more and nothing else differs.

    Args:
        old: str. As gin prints it.
        new: str. As gin prints it.
        operative: str. The old one with its defaults, for epochs that it did not bind.

    Returns:
        pair of int or None. Before, and now.

    Example:
    ```python
    from kfsl.runs.grown_epochs import grown_epochs

    assert grown_epochs("train.epochs = 2", "train.epochs = 6") == (2, 6)
    assert grown_epochs("train.epochs = 2", "train.epochs = 1") is None
    assert grown_epochs("train.epochs = 2\\nWAYS = 3", "train.epochs = 6\\nWAYS = 5") is None
    ```
    """
    before = EPOCHS.search(old) or EPOCHS.search(operative)
    after = EPOCHS.search(new)
    if before is None or after is None or int(after[1]) <= int(before[1]):
        return None
    if first_difference(EPOCHS.sub("", old), EPOCHS.sub("", new)):
        return None
    return int(before[1]), int(after[1])
