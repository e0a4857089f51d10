"""The files from which a store was made, so that another source does not pass for them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.datasets.folder_listing import printable
from data_pipelines.datasets.image_set import ImageSet

RECORD_FILE = "source.json"
DIGEST_BYTES = 16


class SourceRecord:
    """Class and content of each file of a source, by its name within the source.

    Args:
        files: mapping from class name to a mapping from file name to a digest of its content.

    Example:
    ```python
    from data_pipelines.source_record import SourceRecord

    then = SourceRecord({"cat": {"cat/1.png": "aa", "cat/2.png": "bb"}})
    now = SourceRecord({"cat": {"cat/1.png": "ff", "cat/2.png": "bb"}})
    assert then.differences(now) == ["1 file has another content (cat/1.png)"]
    ```
    """

    def __init__(self, files: Mapping[str, Mapping[str, str]]):
        self.files = files

    @classmethod
    def of(cls, source: ImageSet) -> "SourceRecord":
        """Reads all files of a source.

        Args:
            source: `ImageSet`.

        Returns:
            A `SourceRecord`.

        Raises:
            OSError: a file cannot be read.
        """
        root = f"{source.root}{os.sep}"
        return cls(
            {
                name: {str(file).removeprefix(root): _digest(file) for file in files}
                for name, files in source.files.items()
            }
        )

    @classmethod
    def read(cls, store: Path) -> "SourceRecord | None":
        """The record in a store's folder.

        Args:
            store: `pathlib.Path`.

        Returns:
            A `SourceRecord`; `None` where the store has none: it was not made from files, or by an
            earlier release.

        Raises:
            ValueError: the record is damaged.
        """
        file = store / RECORD_FILE
        if not file.is_file():
            return None
        try:
            return cls(json.loads(file.read_text(encoding="utf-8"))["classes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} is damaged ({error}). Delete the folder and prepare again."
            ) from error

    def write(self, store: Path) -> None:
        """Writes the record into a store's folder.

        Args:
            store: `pathlib.Path`.
        """
        # ASCII: names that are no UTF-8 must come back as they were.
        text = json.dumps({"classes": self.files}, ensure_ascii=True)
        (store / RECORD_FILE).write_text(text, encoding="ascii")

    def differences(self, now: "SourceRecord") -> list[str]:
        """What another source has otherwise.

        Args:
            now: `SourceRecord`. Of the other source.

        Returns:
            list of str, each a kind of difference with its number and first example; empty if
            classes, names and contents agree.
        """
        before, after = self._by_name(), now._by_name()
        common = before.keys() & after.keys()
        return [
            _words(names, one, many)
            for names, one, many in (
                (before.keys() - after.keys(), "file is missing", "files are missing"),
                (after.keys() - before.keys(), "file is new", "files are new"),
                (
                    {name for name in common if before[name][0] != after[name][0]},
                    "file is of another class",
                    "files are of another class",
                ),
                (
                    {name for name in common if before[name][1] != after[name][1]},
                    "file has another content",
                    "files have another content",
                ),
            )
            if names
        ]

    def _by_name(self) -> dict[str, tuple[str, str]]:
        return {
            name: (label, digest)
            for label, files in self.files.items()
            for name, digest in files.items()
        }


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    return digest.hexdigest()


def _words(names: set[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many} ({printable(min(names))})"
