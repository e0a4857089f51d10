"""What `prepare` needs to write a class store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_pipelines.class_store import StoredClass
from data_pipelines.datasets.image_set import ImageSet


@dataclass(frozen=True)
class DatasetReader:
    """The classes of a source, known before any image is decoded, and the images themselves.

    Args:
        classes: sequence of `StoredClass`.
        images: callable. Returns an iterator of `(class index, uint8 array [H, W, C])`.
        image_shape: tuple `(H, W, C)` in pixels.
        metadata: dict. For the store: at least `source`, and `rotations` or `splits` where the
            dataset has them.
        build: callable or None. Work before the first image, such as writing TFRecords.
        source: `ImageSet` or None. The image files, which are checked before all else; None where
            the images do not come from files of the user's. Defaults to `None`.
    """

    classes: Sequence[StoredClass]
    images: Callable[[], Iterator[tuple[int, np.ndarray]]]
    image_shape: tuple[int, int, int]
    metadata: dict[str, Any] = field(default_factory=dict)
    build: Callable[[], object] | None = None
    source: ImageSet | None = None

    @property
    def num_images(self) -> int:
        return sum(entry.count for entry in self.classes)
