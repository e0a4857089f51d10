"""The classes of one split, as samplers read them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

#: The splits of a dataset, in the order in which they are used.
SPLITS = ("train", "val", "test")

#: What a label may mean.
LABEL_LEVELS = ("class", "superclass")


@dataclasses.dataclass(frozen=True, eq=False)
class ClassSplit:
    """The classes of one split: arrays of one entry per class.

    Args:
        name: str. Such as `"train"`.
        class_names: sequence of str.
        counts: int64 array `[num_classes]`. Images per class.
        offsets: int64 array `[num_classes]`. Index of the class's first image in the store.
        superclasses: int32 array `[num_classes]`. Dense within the split, from 0.
        superclass_names: tuple of str. The superclasses that occur in the split.
        rotations: int. 4 when classes `4 * i ... 4 * i + 3` are the quarter turns of character
            `i`, otherwise 1.
        modes: int32 array `[num_classes]` or None. Of a mixture: which of its datasets a class is
            from.
        mode_names: tuple of str. The datasets of a mixture.
        mode_rotations: tuple of int. As `rotations`, of each dataset of a mixture.
        image_shape: tuple of three ints or None. Height, width and channels of the images.
        stored_counts: int64 array `[num_classes]` or None. Of a part of the images: how many the
            store has of each class.

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
    class_names: Sequence[str]
    counts: np.ndarray
    offsets: np.ndarray
    superclasses: np.ndarray
    superclass_names: tuple[str, ...]
    rotations: int = 1
    modes: np.ndarray | None = None
    mode_names: tuple[str, ...] = ()
    mode_rotations: tuple[int, ...] = ()
    image_shape: tuple[int, int, int] | None = None
    stored_counts: np.ndarray | None = None

    def part(
        self, first: int | None, last: int | None = None, name: str | None = None
    ) -> "ClassSplit":
        """The same classes with some of their images alone.

        Args:
            first: int or None. First image of each class that is kept, as in a slice.
            last: int or None. End of the slice; negative numbers count from the end.
            name: str or None. Another name, so that the parts have streams of their own.

        Returns:
            `ClassSplit`.

        Raises:
            ValueError: if a class has no image there.
        """
        spans = [slice(first, last).indices(count) for count in self.counts.tolist()]
        starts, ends, _ = (np.array(values, np.int64) for values in zip(*spans, strict=True))
        if (ends <= starts).any():
            smallest = int(np.argmin(ends - starts))
            raise ValueError(
                f"Images {first} to {last} of each class of split {self.name!r}: class "
                f"{self.class_names[smallest]!r} has {self.counts[smallest]} images, none there."
            )
        return dataclasses.replace(
            self,
            name=name or self.name,
            counts=ends - starts,
            offsets=self.offsets + starts,
            stored_counts=self.counts if self.stored_counts is None else self.stored_counts,
        )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_superclasses(self) -> int:
        return len(self.superclass_names)

    @property
    def num_images(self) -> int:
        return int(self.counts.sum())
