"""Files of weights as PyTorch wrote them until version 1.6, without PyTorch."""

import collections
import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def write_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as `torch.save(..., _use_new_zipfile_serialization=False)` writes tensors."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))

    def _rebuild_tensor_v2():
        raise AssertionError("named, never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2

    class Storage:
        def __init__(self, key, array):
            self.key, self.array = key, array

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = key, array

        def __reduce__(self):
            strides = tuple(step // self.array.itemsize for step in self.array.strides)
            storage = Storage(self.key, self.array)
            hooks = collections.OrderedDict()
            return _rebuild_tensor_v2, (storage, 0, self.array.shape, strides, False, hooks)

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if isinstance(thing, Storage):
                kind = getattr(torch, STORAGES[thing.array.dtype.name])
                return ("storage", kind, thing.key, "cpu", thing.array.size, None)
            return None

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    tensors = {name: Tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())}
    known = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        with open(path, "wb") as file:
            for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(part, file, protocol=2)
            Pickler(file, protocol=2).dump(collections.OrderedDict(tensors))
            pickle.dump([tensor.key for tensor in tensors.values()], file, protocol=2)
            for array in arrays.values():
                file.write(array.size.to_bytes(8, "little") + array.tobytes())
    finally:
        for name, module in known.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
