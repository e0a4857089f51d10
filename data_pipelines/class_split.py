"""The classes of one split, as samplers read them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ClassSplit:
    """The classes of one split: arrays of one entry per class.

    Args:
        name: `str`, such as `"train"`.
        class_names: tuple of `str`.
        counts: `int64` array `[num_classes]`, images per class.
        offsets: `int64` array `[num_classes]`, index of the class's first image in the store.
        superclasses: `int32` array `[num_classes]`, dense within the split, from 0.
        superclass_names: tuple of `str`, the superclasses that occur in the split.
        rotations: `int`, 4 when classes `4 * i ... 4 * i + 3` are the quarter turns of character
            `i`, otherwise 1.

    Example:

    ```python
    import numpy as np
    from data_pipelines.class_split import ClassSplit

    split = ClassSplit(
        name="train", class_names=("a", "b"), counts=np.array([20, 20]),
        offsets=np.array([0, 20]), superclasses=np.array([0, 0], "int32"),
        superclass_names=("Latin",),
    )
    assert split.num_classes == 2 and split.num_images == 40
    ```
    """

    name: str
    class_names: tuple[str, ...]
    counts: np.ndarray
    offsets: np.ndarray
    superclasses: np.ndarray
    superclass_names: tuple[str, ...]
    rotations: int = 1

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_superclasses(self) -> int:
        return len(self.superclass_names)

    @property
    def num_images(self) -> int:
        return int(self.counts.sum())
