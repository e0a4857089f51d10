"""The same picture in classes of different splits: what was learnt would be tested on."""

import hashlib
from typing import NamedTuple

from data_pipelines.class_split import SPLITS
from data_pipelines.dataset import FewShotDataset

DIGEST_BYTES = 16


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
    first: dict[bytes, Place] = {}
    found = []
    for split in (name for name in SPLITS if name in dataset.splits):
        for class_index in dataset.splits[split].tolist():
            for number, image in enumerate(dataset.store.class_images(class_index)):
                key = hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()
                place = Place(split, class_index, number)
                met = first.setdefault(key, place)
                if met.split != split:
                    found.append((met, place))
    return found
