"""Names of classes as they lie on disk, decoded one at a time."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class StoredNames(Sequence[str]):
    """A sequence of names kept as one array of UTF-8 bytes.

    A million names as Python text take a quarter of a gigabyte, and seconds to read; here opening
    costs nothing, and a name is decoded when it is asked for.

    Args:
        text: uint8 array. The names' UTF-8 bytes, one name after another; may be mapped.
        ends: int64 array, `[n]`. Where each name ends in `text`.
        rows: int64 array or None. Which of them, in this order; None: all. Defaults to `None`.

    Example:
    ```python
    from data_pipelines.stored_names import StoredNames

    names = StoredNames.of(["cat", "dog", "Kätzchen"])
    assert names[2] == "Kätzchen" and names[[2, 0]] == ("Kätzchen", "cat")
    ```
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._text, self._ends, self._rows = text, ends, rows

    @classmethod
    def of(cls, names: Iterable[str]) -> StoredNames:
        """Takes names from memory.

        Args:
            names: iterable of str.

        Returns:
            `StoredNames`.
        """
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    @property
    def text(self) -> np.ndarray:
        """The bytes of all names, not of the chosen rows alone."""
        return self._text

    @property
    def ends(self) -> np.ndarray:
        """Where each name ends in `text`."""
        return self._ends

    @property
    def rows(self) -> np.ndarray:
        """int64 array, `[n]`. Where each name stands in the store."""
        return np.arange(len(self._ends)) if self._rows is None else self._rows

    def __len__(self) -> int:
        return len(self._ends) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> StoredNames: ...

    def __getitem__(self, index):
        if isinstance(index, (slice, list, tuple)) or getattr(index, "ndim", 0):
            chosen = index if isinstance(index, slice) else np.asarray(index, np.int64)
            return StoredNames(self._text, self._ends, self.rows[chosen])
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"Name {place} of {len(self)}.")
        place %= len(self)
        return self._decoded(place if self._rows is None else int(self._rows[place]))

    def __iter__(self) -> Iterator[str]:
        for row in range(len(self)) if self._rows is None else self._rows.tolist():
            yield self._decoded(row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (StoredNames, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"StoredNames({shown}{', ...' if len(self) > 3 else ''}; {len(self)} in all)"

    def _decoded(self, row: int) -> str:
        start = self._ends[row - 1] if row else 0
        return self._text[start : self._ends[row]].tobytes().decode("utf-8", "surrogateescape")
