"""Lists of classes that lie beside the code, in `splits/*.json`."""

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def read_class_lists(name: str) -> dict[str, Any]:
    """Reads `splits/<name>.json`.

    Args:
        name: `str`, file name without `.json`.

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
