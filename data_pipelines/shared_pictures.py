"""The same picture in classes of different splits: what was learnt would be tested on."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.dataset import FewShotDataset

#: Bytes of an image's key: of equal keys, which are few, the pixels are compared.
KEY_BYTES = 8


class Place(NamedTuple):
    """Where a picture lies: its split, its class, and its number within the class."""

    split: str
    class_index: int
    number: int


def shared_pictures(dataset: FewShotDataset) -> list[tuple[Place, Place]]:
    """Pictures of the same pixels in classes of different splits.

    Args:
        dataset: `FewShotDataset`.

    Returns:
        list of pairs: the place where a picture is first met, and another in a later split.
    """
    places = _Places(dataset)
    first: dict[bytes, Place] = {}
    found = []
    for position in _repeated(_keys(places)):
        place = places[position]
        met = first.setdefault(places.image(place).tobytes(), place)
        if met.split != place.split:
            found.append((met, place))
    return found


class _Places:
    """The images of all splits, one after another."""

    def __init__(self, dataset: FewShotDataset) -> None:
        self.store = dataset.store
        self._splits = [name for name in SPLITS if name in dataset.splits]
        self._classes = np.concatenate([dataset.splits[name] for name in self._splits])
        self._ends_of_splits = np.cumsum([dataset.splits[name].size for name in self._splits])
        self._ends = np.cumsum(self.store.counts[self._classes])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, position: int) -> Place:
        number = int(np.searchsorted(self._ends, position, side="right"))
        split = self._splits[int(np.searchsorted(self._ends_of_splits, number, side="right"))]
        index = int(self._classes[number])
        first = int(self._ends[number] - self.store.counts[index])
        return Place(split, index, int(position) - first)

    def image(self, place: Place) -> np.ndarray:
        return self.store.images[self.store.offsets[place.class_index] + place.number]

    def images(self) -> Iterator[np.ndarray]:
        for index in self._classes.tolist():
            yield from self.store.class_images(index)


def _keys(places: _Places) -> np.ndarray:
    keys = np.empty(len(places), np.uint64)
    for position, image in enumerate(places.images()):
        digest = hashlib.blake2b(image.tobytes(), digest_size=KEY_BYTES).digest()
        keys[position] = int.from_bytes(digest, "little")
    return keys


def _repeated(keys: np.ndarray) -> np.ndarray:
    """Positions of the keys that occur more than once."""
    ordered = np.sort(keys)
    return np.flatnonzero(np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]]))
