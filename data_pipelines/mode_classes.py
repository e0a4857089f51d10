"""Classes of a store by the mode that they are of, and their rotations."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_pipelines.class_store import ClassStore


@dataclasses.dataclass(frozen=True, eq=False)
class ModeClasses:
    """Classes of one mode of a mixture; of a store of one dataset all that are asked about.

    Args:
        mode: str or None. The mode's name; None: the store is of one dataset.
        rotations: int. Stored rotations of each class, 1 or 4; they stand side by side.
        indices: int64 array. The classes, ascending.
        places: int64 array. Where each of them stands among all classes of its mode.
    """

    mode: str | None
    rotations: int
    indices: np.ndarray
    places: np.ndarray

    @property
    def are_whole(self) -> bool:
        """Whether of each class all rotations are there."""
        if self.places.size % self.rotations:
            return False
        groups = self.places.reshape(-1, self.rotations)
        first = groups[:, :1] // self.rotations * self.rotations
        return bool((groups == first + np.arange(self.rotations)).all())

    @property
    def groups(self) -> np.ndarray:
        """Indices of the classes, `[n, rotations]`: a row is a class with its rotations."""
        return self.indices.reshape(-1, self.rotations)


def classes_by_mode(store: ClassStore, indices: np.ndarray) -> list[ModeClasses]:
    """Sorts classes by the modes of a mixture, whose rotations are those of its datasets.

    Args:
        store: `ClassStore`.
        indices: int64 array. Classes of the store, ascending.

    Returns:
        list of `ModeClasses`, without modes that have none of the classes.

    Example:
    ```python
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.mode_classes import classes_by_mode

    names = ["photos/a", *(f"drawings/b/rot{turn}" for turn in (0, 90, 180, 270))]
    mixed = {
        "modes": ["photos", "drawings"], "mode_rotations": [1, 4], "class_modes": [0, 1, 1, 1, 1]
    }
    with tempfile.TemporaryDirectory() as folder:
        images = [(i, np.zeros((8, 8, 1), "uint8")) for i in range(5)]
        classes = [StoredClass(name, "all", 1) for name in names]
        write_class_store(f"{folder}/mixed", classes, images, (8, 8, 1), mixed)
        photos, drawings = classes_by_mode(ClassStore.open(f"{folder}/mixed"), np.arange(4))
    assert photos.are_whole and drawings.places.tolist() == [0, 1, 2]
    assert not drawings.are_whole
    ```
    """
    if "modes" not in store.metadata:
        return [ModeClasses(None, store.rotations, indices, indices)]
    class_modes = np.asarray(store.metadata["class_modes"])
    found = []
    for number, (mode, rotations) in enumerate(
        zip(store.metadata["modes"], store.metadata["mode_rotations"], strict=True)
    ):
        own = indices[class_modes[indices] == number]
        if own.size:
            # A mode's classes stand in the store's order, whatever stands between them.
            places = np.searchsorted(np.flatnonzero(class_modes == number), own)
            found.append(ModeClasses(mode, int(rotations), own, places))
    return found


def check_whole_classes(name: str, split: str, store: ClassStore, indices: np.ndarray) -> None:
    """Refuses lists that divide the rotations of a class.

    Args:
        name: str. The dataset's, for the message.
        split: str. Likewise.
        store: `ClassStore`.
        indices: int64 array. The split's classes, ascending.

    Raises:
        ValueError: if some rotations of a class are there and others are not.
    """
    for classes in classes_by_mode(store, indices):
        if not classes.are_whole:
            of_mode = "" if classes.mode is None else f" of mode {classes.mode!r}"
            raise ValueError(
                f"Split {split!r} of {name} divides the {classes.rotations} rotations of a class"
                f"{of_mode}; all rotations of a class belong to one split."
            )
