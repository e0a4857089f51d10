"""What the tallies of all kinds of episodes share."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kfsl.episodes import MODE

#: Numbers of episodes after which the fingerprint so far is kept.
KEPT_AFTER = frozenset(digit * 10**power for digit in (1, 2, 5, 6) for power in range(1, 6))


class EpisodeTally:
    """A number of each episode, their sizes, and a fingerprint of what they were.

    Args:
        sizes: iterable of str. Sizes that an episode of this kind has.
    """

    def __init__(self, sizes: Iterable[str]) -> None:
        self.values: list[float] = []
        #: Of a mixture, which dataset each episode is from.
        self.modes: list[int] = []
        #: From numbers of episodes, as text, to the fingerprint of so many.
        self.earlier_fingerprints: dict[str, str] = {}
        self._digest = hashlib.sha256()
        self._sizes: dict[str, set[int]] = {name: set() for name in sizes}

    @property
    def ways(self) -> int | list[int] | None:
        return self._size("ways")

    @property
    def shots(self) -> int | list[int] | None:
        return self._size("shots")

    @property
    def queries(self) -> int | list[int] | None:
        return self._size("queries")

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over what was given and asked in all episodes so far."""
        return self._digest.hexdigest()

    def class_counts(self) -> dict[str, list[int]]:
        """Class name to `[correct, queries]`; empty where there are no classes."""
        return {}

    def confusions(self) -> list[list]:
        """The classes that were taken for others; empty where there are no classes."""
        return []

    def _add_modes(self, episode: Mapping[str, Any], count: int) -> None:
        self.modes += [int(mode) for mode in episode.get(MODE, ())][:count]

    def _count(self, value: float, parts: Iterable[np.ndarray], dtype: str) -> None:
        """Adds an episode's number, and what it was."""
        for part in parts:
            self._digest.update(np.ascontiguousarray(part, dtype=dtype).tobytes() + b"|")
        self.values.append(value)
        if len(self.values) in KEPT_AFTER:
            self.earlier_fingerprints[str(len(self.values))] = self.fingerprint

    def _size(self, name: str) -> int | list[int] | None:
        if name not in self._sizes:
            return None
        smallest, largest = min(self._sizes[name]), max(self._sizes[name])
        return smallest if smallest == largest else [smallest, largest]
