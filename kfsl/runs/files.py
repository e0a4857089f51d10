"""Files that are written whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import IO, Any


def write_json(path: str, value: Any) -> None:
    """Writes JSON so that a reader finds the old file or the new one, never half of one."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes text so that a reader finds the old file or the new one."""
    with replaced_file(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def replaced_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write, which takes its place when all is written, and goes if that fails.

    Args:
        path: str.

    Yields:
        A binary file.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def read_text(path: str) -> str:
    """Reads text that may have been edited by hand, with a byte order mark or without.

    Args:
        path: str.

    Returns:
        str.

    Raises:
        ValueError: naming the file, if it is not UTF-8.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            return file.read()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error.reason}). Save it as UTF-8.") from None


def read_json(path: str) -> Any:
    """Reads JSON.

    Args:
        path: str.

    Returns:
        What it holds.

    Raises:
        ValueError: naming the file, if it holds something else.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is cut short or no JSON ({error}). Restore it from a copy."
        ) from None
