"""Files that are written whole or not at all."""

import json
import os
from typing import Any


def write_json(path: str, value: Any) -> None:
    """Writes JSON so that a reader finds the old file or the new one, never half of one."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes text by way of a temporary file beside it."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
