"""What `prepare` needs to write a class store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.class_store import StoredClass


@dataclass(frozen=True)
class DatasetReader:
    """The classes of a source, known before any image is decoded, and the images themselves.

    Args:
        classes: sequence of `StoredClass`.
        images: callable that returns an iterator of `(class index, uint8 array [H, W, C])`.
        image_shape: tuple `(H, W, C)` in pixels.
        metadata: dict for the store: at least `source`, and `rotations` or `splits` where the
            dataset has them.
        build: callable, or `None`: work before the first image, such as writing TFRecords.
        files: sequence of the image files, whose headers are checked before all else.
    """

    classes: Sequence[StoredClass]
    images: Callable[[], Iterator[tuple[int, np.ndarray]]]
    image_shape: tuple[int, int, int]
    metadata: dict[str, Any] = field(default_factory=dict)
    build: Callable[[], object] | None = None
    files: Sequence[Path] = ()

    @property
    def num_images(self) -> int:
        return sum(entry.count for entry in self.classes)
