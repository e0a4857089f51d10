"""A PyTorch state dict, read without PyTorch and without running what a pickle asks for."""

from __future__ import annotations

import collections
import os
import pickle
from typing import Any, BinaryIO

import numpy as np

#: What begins a file of the format that PyTorch wrote until version 1.6.
MAGIC = 0x1950A86A20F9469CFC6C
#: Storages that a state dict's tensors lie in, and the types of their numbers.
STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a state dict, by their names.

    A pickle can name any function to be called. Here those of a state dict are known: an ordered
    dict, tensors, and the storages they lie in; whatever else is named is refused.

    Args:
        path: str or path. A file that `torch.save` wrote, in the format of before PyTorch 1.6.

    Returns:
        dict from names to arrays.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another format, cut, or names something else than tensors.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        try:
            return _read(file)
        except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{path} is no state dict that can be read here: {error}. A whole file of weights "
                "alone is expected, as torch.save(model.state_dict(), "
                "_use_new_zipfile_serialization=False) writes it."
            ) from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _StateUnpickler(file).load() != MAGIC:
        raise pickle.UnpicklingError("it does not begin as such a file does")
    _StateUnpickler(file).load()  # The protocol's version.
    if not _StateUnpickler(file).load()["little_endian"]:
        raise pickle.UnpicklingError("its numbers are big-endian")
    unpickler = _StateUnpickler(file)
    tensors = unpickler.load()
    keys = _StateUnpickler(file).load()
    storages = {key: _storage(file, *unpickler.storages[key]) for key in keys}
    return {name: tensor.of(storages) for name, tensor in tensors.items()}


def _storage(file: BinaryIO, dtype: np.dtype, size: int) -> np.ndarray:
    if int.from_bytes(file.read(8), "little") != size:
        raise pickle.UnpicklingError("a storage is not as long as its tensors say")
    data = file.read(size * dtype.itemsize)
    if len(data) != size * dtype.itemsize:
        raise pickle.UnpicklingError("it ends before its last tensor does")
    return np.frombuffer(data, dtype)


class _Tensor:
    """A part of a storage, which comes later in the file."""

    def __init__(self, storage: str, offset: int, shape: tuple, strides: tuple, *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def of(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        flat = storages[self.storage]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if not 0 <= self.offset <= last < len(flat):
            raise IndexError("a tensor lies outside its storage")
        strides = [flat.itemsize * stride for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides).copy()


class _StateUnpickler(pickle.Unpickler):
    """Knows a state dict's own names, and no others."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of a state dict")

    def persistent_load(self, pid: Any) -> str:
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        self.storages[key] = (dtype, size)
        return key
