"""What `prepare` needs to write a class store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        notes: sequence of str. Lines for the user, besides those of `source`. Defaults to none.
    """

    classes: Sequence[StoredClass]
    images: Callable[[], Iterator[tuple[int, np.ndarray]]]
    image_shape: tuple[int, int, int]
    metadata: dict[str, Any] = field(default_factory=dict)
    build: Callable[[], object] | None = None
    source: ImageSet | None = None
    notes: Sequence[str] = ()

    @classmethod
    def of_files(
        cls,
        source: ImageSet,
        superclasses: Mapping[str, str],
        image_shape: tuple[int, int, int],
        origin: str,
    ) -> DatasetReader:
        """Reads image files, class by class.

        Args:
            source: `ImageSet`.
            superclasses: mapping from the names of its classes, in their order.
            image_shape: tuple `(H, W, C)` in pixels.
            origin: str. What the store's metadata shall say of the source.
        """
        classes = [
            StoredClass(name, superclass, len(source.files[name]))
            for name, superclass in superclasses.items()
        ]

        def images() -> Iterator[tuple[int, np.ndarray]]:
            for index, entry in enumerate(classes):
                for file in source.files[entry.name]:
                    yield index, source.read(file, image_shape)

        return cls(classes, images, image_shape, {"source": origin}, source=source)

    @property
    def num_images(self) -> int:
        return sum(entry.count for entry in self.classes)
