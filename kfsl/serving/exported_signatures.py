"""Signatures that are files, each run in its format's own runtime."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping

import numpy as np


class ExportedSignatures(Mapping):
    """The signatures in a folder, each a function of arrays by name.

    Args:
        folder: str.
        files: mapping from names of signatures to names of files.
    """

    def __init__(self, folder: str, files: Mapping[str, str]) -> None:
        self.folder = folder
        self.files = files

    @abstractmethod
    def __getitem__(self, name: str) -> Callable[..., dict[str, np.ndarray]]: ...

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)
