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


def read_json(path: str, remedy: str = "restore it from a copy") -> dict[str, Any]:
    """A JSON file that holds an object; a byte order mark, as some editors write, is no part.

    Args:
        path: str.
        remedy: str. What to do if it cannot be read, for the message.

    Returns:
        dict.

    Raises:
        ValueError: naming the file, if it is cut or holds something else.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            values = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path!r} is damaged ({error}); {remedy}.") from error
    if not isinstance(values, dict):
        found = type(values).__name__
        raise ValueError(f"{path!r} is damaged (it holds a {found}, no object); {remedy}.")
    return values
