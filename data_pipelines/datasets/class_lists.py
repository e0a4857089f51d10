"""Lists of classes that lie beside the code, in `splits/*.json`."""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from data_pipelines.class_split import SPLITS


@functools.cache
def read_class_lists(name: str) -> dict[str, Any]:
    """Reads `splits/<name>.json`.

    Args:
        name: str. File name without `.json`.

    Returns:
        dict: `source` says where the lists come from, the other keys are the lists.

    Example:
    ```python
    from data_pipelines.datasets.class_lists import read_class_lists

    assert len(read_class_lists("mini_imagenet")["train"]) == 64
    ```
    """
    file = resources.files("data_pipelines.datasets") / "splits" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


def read_split_lists(name: str) -> dict[str, list[str]]:
    """The lists of classes in `splits/<name>.json`.

    Args:
        name: str. File name without `.json`.

    Returns:
        dict from split name to its classes, `train` first.

    Example:
    ```python
    from data_pipelines.datasets.class_lists import read_split_lists

    assert [len(names) for names in read_split_lists("fc100").values()] == [60, 20, 20]
    ```
    """
    return split_lists_in(read_class_lists(name))


def split_lists_in(lists: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lists of splits among others.

    Args:
        lists: mapping, such as `read_class_lists` returns.

    Returns:
        dict from split name to its classes, `train` first.
    """
    return {split: lists[split] for split in SPLITS if split in lists}
