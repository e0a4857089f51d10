"""The same picture in classes of different splits: what was learnt would be tested on."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset

#: Bytes of an image's key: equal keys are few, and their pixels are compared.
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
    splits = [name for name in SPLITS if name in dataset.splits]
    rows = [_image_rows(dataset.store, dataset.splits[name]) for name in splits]
    splits_of_rows = np.repeat(np.arange(len(splits)), [len(part) for part in rows])
    rows = np.concatenate(rows)
    found = []
    for group in _same_keys(_keys(dataset.store.images, rows)):
        first: dict[bytes, int] = {}
        for position in group:
            met = first.setdefault(dataset.store.images[rows[position]].tobytes(), position)
            if splits_of_rows[met] != splits_of_rows[position]:
                found.append((position, met))
    return [
        tuple(
            _place(dataset.store, splits[splits_of_rows[position]], rows[position])
            for position in (met, later)
        )
        for later, met in sorted(found)
    ]


def _image_rows(store: ClassStore, classes: np.ndarray) -> np.ndarray:
    """Where in the store the images of some classes lie, class by class."""
    counts = store.counts[classes]
    starts = np.repeat(store.offsets[classes] - (np.cumsum(counts) - counts), counts)
    return starts + np.arange(len(starts))


def _keys(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    keys = np.empty(len(rows), np.uint64)
    for position, row in enumerate(rows):
        digest = hashlib.blake2b(images[row].tobytes(), digest_size=KEY_BYTES).digest()
        keys[position] = int.from_bytes(digest, "little")
    return keys


def _same_keys(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of equal keys, ascending, wherever there are two or more."""
    order = np.argsort(keys, kind="stable")
    equal = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    for run in np.split(equal, np.flatnonzero(np.diff(equal) > 1) + 1):
        if run.size:
            yield order[run[0] : run[-1] + 2]


def _place(store: ClassStore, split: str, row: int) -> Place:
    index = int(np.searchsorted(store.offsets, row, side="right")) - 1
    return Place(split, index, int(row - store.offsets[index]))
