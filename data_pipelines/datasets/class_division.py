"""Dividing the classes of an image folder: by a file or by a seeded ratio."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.datasets.tables import read_table


def parse_ratio(text: str) -> tuple[float, ...]:
    """Shares of train, val and test, or of train and test.

    Args:
        text: str. Such as `"0.64,0.16,0.2"`.

    Returns:
        tuple of float that sum to 1.

    Raises:
        ValueError: not two or three positive numbers with sum 1.

    Example:
    ```python
    from data_pipelines.datasets.class_division import parse_ratio

    assert parse_ratio("0.8,0.2") == (0.8, 0.2)
    ```
    """
    try:
        ratio = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratio = ()
    if len(ratio) not in (2, 3) or not min(ratio) > 0 or abs(sum(ratio) - 1) > 1e-6:
        raise ValueError(
            f"--split_ratio={text}, expected shares of train,val,test (or train,test) with sum 1, "
            "such as 0.64,0.16,0.2."
        )
    return ratio


def divide_by_ratio(
    names: Sequence[str], ratio: Sequence[float], seed: int = 0
) -> dict[str, list[str]]:
    """Divides classes at random.

    Args:
        names: sequence of str. The classes.
        ratio: sequence of float. Shares of train, val and test, or of train and test.
        seed: int. Defaults to `0`.

    Returns:
        dict from split name to its classes, sorted.

    Raises:
        ValueError: a split would have no class.

    Example:
    ```python
    from data_pipelines.datasets.class_division import divide_by_ratio

    lists = divide_by_ratio([f"class{i}" for i in range(10)], (0.5, 0.2, 0.3))
    assert [len(classes) for classes in lists.values()] == [5, 2, 3]
    ```
    """
    names = sorted(names)
    splits = SPLITS if len(ratio) == 3 else ("train", "test")
    bounds = [round(share * len(names)) for share in np.cumsum(ratio)[:-1]]
    # RandomState: its stream is frozen, so a seed means the same division for ever.
    order = np.random.RandomState(seed).permutation(len(names))
    lists = {
        split: sorted(names[i] for i in part)
        for split, part in zip(splits, np.split(order, bounds), strict=True)
    }
    empty = [split for split, members in lists.items() if not members]
    if empty:
        raise ValueError(
            f"{len(names)} classes are too few for the ratio {tuple(ratio)}: {empty[0]} would "
            "have none. Give --split_file, or --split_ratio with two shares (train,test)."
        )
    return lists


def read_split_file(file: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Reads which classes belong to which split.

    Args:
        file: `pathlib.Path`. JSON `{"train": [...], "val": [...], "test": [...]}`, or CSV with the
            columns `class,split`. A class is named as `<class>` or `<superclass>/<class>`.
        names: sequence of str. The classes that there are. Those the file does not name are in
            no split.

    Returns:
        dict from split name to its classes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or names unknown splits or classes, or a class twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"The split file {file} does not exist.")
    try:
        lists = _read_csv(file) if file.suffix.lower() == ".csv" else _read_json(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"Cannot read the split file {file}: {error}.") from error
    unknown = [split for split in lists if split not in SPLITS]
    if unknown:
        raise ValueError(f"{file} names the split {unknown[0]!r}; known are {', '.join(SPLITS)}.")
    full = _full_names(names)
    lists = {split: [_full_name(c, full, file) for c in lists[split]] for split in lists}
    check_division(lists)
    return lists


def check_division(lists: Mapping[str, Sequence[str]]) -> None:
    """Checks that there is a train split, none is empty, and no class is named twice.

    Raises:
        ValueError: otherwise.
    """
    if not lists.get("train"):
        raise ValueError(f"The split train has no class; found the splits {', '.join(lists)}.")
    seen: dict[str, str] = {}
    for split, members in lists.items():
        if not members:
            raise ValueError(f"The split {split} has no class.")
        for name in members:
            if name in seen:
                raise ValueError(
                    f"Class {name!r} is in the split {seen[name]} and again in {split}; a class "
                    "belongs to one split."
                )
            seen[name] = split


def _full_names(names: Sequence[str]) -> dict[str, str | None]:
    """Full names by what a file may call a class; None where several classes may be meant."""
    full: dict[str, str | None] = {}
    for name in names:
        short = name.rpartition("/")[2]
        full[short] = None if short in full else name
    return full | {name: name for name in names}


def _full_name(name: str, full: Mapping[str, str | None], file: Path) -> str:
    found = full.get(name)
    if found is None:
        reason = "which several superclasses have" if name in full else "which the folder lacks"
        raise ValueError(f"{file} names the class {name!r}, {reason}.")
    return found


def _read_json(file: Path) -> dict[str, list[str]]:
    lists = json.loads(file.read_text(encoding="utf-8-sig"))
    valid = isinstance(lists, dict) and all(
        isinstance(members, list) and all(isinstance(name, str) for name in members)
        for members in lists.values()
    )
    if not valid:
        raise ValueError(f'{file} must hold {{"train": [...], "val": [...], "test": [...]}}.')
    return lists


def _read_csv(file: Path) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for row in read_table(file, ("class", "split")):
        lists.setdefault(row["split"], []).append(row["class"])
    return lists
