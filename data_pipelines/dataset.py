"""A class store and how its classes are divided into splits."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.class_split import ClassSplit
from data_pipelines.class_store import ClassStore
from data_pipelines.mode_classes import check_whole_classes

#: The base classes, and their images that training does not see.
TRAIN, BASE_TEST = "train", "base_test"


class FewShotDataset:
    """Classes of a store, divided into disjoint splits such as `train`, `val` and `test`.

    Args:
        name: str. Name of the dataset.
        store: `ClassStore`. The images.
        splits: mapping from split name to class indices of the store. Splits must not overlap and
            are kept in ascending order. Where the store, or a mode of a mixture, holds four
            rotations of each class, the four stay together.
        held_out_images: int. Images at the end of each train class that training does not see:
            they are the split `base_test`, to measure base classes on.

    Raises:
        ValueError: a split is empty, names a class that the store lacks, names one twice, shares
            one with another split, or divides the rotations of a class.

    Example:
    ```python
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.dataset import FewShotDataset

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass(name, "letters", 1) for name in "abc"]
        images = [(i, np.zeros((8, 8, 1), "uint8")) for i in range(3)]
        write_class_store(f"{folder}/letters", classes, images, image_shape=(8, 8, 1))
        dataset = FewShotDataset(
            "letters", ClassStore.open(f"{folder}/letters"), {"train": [0, 2], "test": [1]}
        )
        assert dataset.split("train").class_names == ("a", "c")
    ```
    """

    def __init__(
        self,
        name: str,
        store: ClassStore,
        splits: Mapping[str, Sequence[int]],
        held_out_images: int = 0,
    ):
        self.name = name
        self.store = store
        self.held_out_images = held_out_images
        self.splits = {
            split: np.sort(np.asarray(indices, np.int64)) for split, indices in splits.items()
        }
        self._check()

    def _check(self) -> None:
        if self.held_out_images < 0 or BASE_TEST in self.splits:
            raise ValueError(
                f"held_out_images must be 0 or more, and {BASE_TEST!r} is the split that they "
                f"make; received held_out_images={self.held_out_images} and the splits "
                f"{', '.join(self.splits)}."
            )
        for split, indices in self.splits.items():
            if not indices.size:
                raise ValueError(f"Split {split!r} of {self.name} has no class.")
            if indices[0] < 0 or indices[-1] >= self.store.num_classes:
                raise ValueError(
                    f"Split {split!r} of {self.name} names classes {indices[0]} to {indices[-1]}; "
                    f"the store has classes 0 to {self.store.num_classes - 1}."
                )
            check_whole_classes(self.name, split, self.store, indices)
        self._check_disjoint()

    def _check_disjoint(self) -> None:
        owners = np.full(self.store.num_classes, -1, np.int32)
        names = list(self.splits)
        for number, indices in enumerate(self.splits.values()):
            known, twice = owners[indices] >= 0, np.flatnonzero(np.diff(indices) == 0)
            if known.any() or twice.size:
                index = indices[known][0] if known.any() else indices[twice[0]]
                owner = names[owners[index]] if known.any() else names[number]
                raise ValueError(
                    f"Class {self.store.class_names[index]!r} of {self.name} is in split "
                    f"{owner!r} and again in split {names[number]!r}; splits must be disjoint."
                )
            owners[indices] = number

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names that `split` takes."""
        return (*self.splits, BASE_TEST) if self.held_out_images else tuple(self.splits)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.store.image_shape

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the store's fingerprint and the lists of classes."""
        digest = hashlib.sha256(self.store.fingerprint.encode())
        for split in sorted(self.splits):
            digest.update(f"|{split}:".encode())
            digest.update(",".join(map(str, self.splits[split].tolist())).encode())
        if self.held_out_images:
            digest.update(f"|held out:{self.held_out_images}".encode())
        return digest.hexdigest()

    def split(self, name: str) -> ClassSplit:
        """The classes of one split, as samplers read them.

        Args:
            name: str. Such as `"train"`.

        Returns:
            A `ClassSplit`.

        Raises:
            ValueError: the dataset has no split of that name.
        """
        if self.held_out_images and name in (TRAIN, BASE_TEST):
            train, held_out = self._whole_split(TRAIN), -self.held_out_images
            if name == TRAIN:
                return train.part(0, held_out)
            return train.part(held_out, name=BASE_TEST)
        return self._whole_split(name)

    def _whole_split(self, name: str) -> ClassSplit:
        if name not in self.splits:
            hints = {
                "val": " Set held_out to keep train classes for validation.",
                BASE_TEST: " Set held_out_images to keep images of the train classes for it.",
            }
            hint = hints.get(name, "")
            raise ValueError(
                f"{self.name} has no split {name!r}; it has {', '.join(self.split_names)}.{hint}"
            )
        indices = self.splits[name]
        store = self.store.metadata
        mixed = {}
        if "modes" in store:
            mixed = {
                "modes": np.asarray(store["class_modes"], np.int32)[indices],
                "mode_names": tuple(store["modes"]),
                "mode_rotations": tuple(store["mode_rotations"]),
            }
        used, dense = np.unique(self.store.class_superclasses[indices], return_inverse=True)
        return ClassSplit(
            name=name,
            class_names=self.store.class_names[indices],
            counts=self.store.counts[indices],
            offsets=self.store.offsets[indices],
            superclasses=dense.astype(np.int32),
            superclass_names=tuple(self.store.superclass_names[i] for i in used),
            rotations=self.store.rotations,
            image_shape=self.store.image_shape,
            **mixed,
        )
