"""Decoded images, sorted by class, in one memory-mapped file."""

import hashlib
import io
import json
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from data_pipelines.stored_names import StoredNames

#: Of Linux; Python knows it from 3.13 on.
MAP_NORESERVE = 0x4000
IMAGES_FILE = "images.npy"
DESCRIPTION_FILE = "store.json"
#: One record a class, and the names of all classes, one after another.
CLASSES_FILE, NAMES_FILE = "classes.npy", "names.npy"
#: `split` is an index into the description's `splits`, `NO_SPLIT` for classes of none.
CLASS_RECORD = np.dtype(
    [("count", "<i8"), ("name_end", "<i8"), ("superclass", "<i4"), ("split", "<i2")]
)
NO_SPLIT = -1
#: Of earlier releases: the description lists all classes.
LISTED_VERSION = 1
FORMAT_VERSION = 2


class StoredClass(NamedTuple):
    """One class of a store: its name, its superclass and how many images it has."""

    name: str
    superclass: str
    count: int


class ClassStore:
    """Images of all classes of a dataset, uint8, sorted by class and memory-mapped.

    A store is a folder with `images.npy` (`[N, H, W, C]`), `classes.npy` (counts, superclasses,
    splits), `names.npy` and `store.json` (superclass names, metadata). The images of class `c` are
    `images[offsets[c] : offsets[c] + counts[c]]`. Opening maps the files; pixels and names are read
    from disk when they are touched, so a million classes open as fast as a thousand. Stores of
    earlier releases, whose `store.json` lists all classes, open too.

    Attributes:
        path: `pathlib.Path`. The folder.
        images: `np.memmap`. The pixels, uint8 of shape `[N, H, W, C]`, read-only.
        class_names: `StoredNames`, a sequence of str. One per class.
        superclass_names: tuple of str. In alphabetical order.
        class_superclasses: int32 array `[num_classes]`. Index into `superclass_names`.
        counts: int64 array `[num_classes]`. Images per class.
        offsets: int64 array `[num_classes]`. Where each class begins.
        metadata: dict with `name`, `licence`, `citation`, `image_shape`, `rotations`, `source`,
            `versions`; with `splits`, from split to the names of its classes, where the store
            was prepared with such lists.
        fingerprint: str. SHA-256 (hex) over names, counts and pixels.

    Example:
    ```python
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass("cat", "animal", 2), StoredClass("dog", "animal", 1)]
        images = [(0, np.zeros((8, 8, 1), "uint8")), (1, np.ones((8, 8, 1), "uint8")),
                  (0, np.full((8, 8, 1), 7, "uint8"))]
        write_class_store(f"{folder}/pets", classes, images, image_shape=(8, 8, 1))
        store = ClassStore.open(f"{folder}/pets")
        assert store.images[1, 0, 0, 0] == 7 and store.counts.tolist() == [2, 1]
    ```
    """

    def __init__(self, path: str | os.PathLike, description: dict[str, Any], images: np.memmap):
        self.path = Path(path)
        self.images = images
        classes, self.class_names = _classes(self.path, description)
        self.superclass_names = tuple(description["superclass_names"])
        self.class_superclasses = np.ascontiguousarray(classes["superclass"])
        self.counts = np.ascontiguousarray(classes["count"])
        self.offsets = np.cumsum(self.counts) - self.counts
        self.metadata = dict(description["metadata"])
        if "splits" in description:
            self.metadata["splits"] = {
                split: self.class_names[np.flatnonzero(classes["split"] == number)]
                for number, split in enumerate(description["splits"])
            }
        self.fingerprint = description["fingerprint"]

    @classmethod
    def open(cls, path: str | os.PathLike) -> "ClassStore":
        """Opens the store in a folder.

        Args:
            path: str or path. A folder that `write_class_store` made.

        Returns:
            `ClassStore`.

        Raises:
            FileNotFoundError: there is no store in that folder.
            ValueError: the folder holds a damaged store, or one of another format version.
        """
        path = Path(path)
        if not (path / DESCRIPTION_FILE).is_file() or not (path / IMAGES_FILE).is_file():
            raise FileNotFoundError(
                f"No class store in {path} ({IMAGES_FILE} and {DESCRIPTION_FILE} expected)."
            )
        try:
            description = json.loads((path / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            version = description["format_version"]
            known = version in (LISTED_VERSION, FORMAT_VERSION)
            if known:
                images = np.load(path / IMAGES_FILE, mmap_mode="r", allow_pickle=False)
                store = cls(path, description, images)
        except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
            raise ValueError(
                f"The class store in {path} is damaged ({error}). Delete the folder and prepare "
                "the dataset again."
            ) from error
        if not known:
            raise ValueError(
                f"The class store in {path} has format version {version}; this release reads "
                f"versions {LISTED_VERSION} and {FORMAT_VERSION}. Delete the folder and prepare "
                "the dataset again."
            )
        expected = (int(store.counts.sum()), *store.image_shape)
        if images.dtype != np.uint8 or images.shape != expected:
            raise ValueError(
                f"The class store in {path} is damaged: images {images.dtype} {images.shape}, "
                f"expected uint8 {expected}. Delete the folder and prepare the dataset again."
            )
        return store

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.metadata["image_shape"])

    @property
    def rotations(self) -> int:
        """Stored rotations of each class: 1, or 4 when class = 4 * character + quarter turns."""
        return int(self.metadata.get("rotations", 1))

    def class_images(self, index: int) -> np.ndarray:
        """Images of one class.

        Args:
            index: int. The class.

        Returns:
            uint8 array of shape `[counts[index], H, W, C]`, a read-only view.
        """
        start = self.offsets[index]
        return self.images[start : start + self.counts[index]]

    def tensor(self) -> Any:
        """All images as a TensorFlow tensor that shares the mapped pages.

        Nothing is copied: a gather from the tensor reads only the pages it needs. The tensor lives
        on the CPU.

        Returns:
            `tf.Tensor`, uint8 of shape `[N, H, W, C]`.
        """
        import tensorflow as tf

        # DLPack refuses read-only arrays; copy-on-write pages are never written to.
        images = writable_pages(self.path / IMAGES_FILE)
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())

    def compute_fingerprint(self) -> str:
        """Reads all pixels and returns their fingerprint; equal to `fingerprint` when intact."""
        digest = names_digest(
            self.class_names,
            [self.superclass_names[i] for i in self.class_superclasses],
            self.counts.tolist(),
            self.image_shape,
        )
        with open(self.path / IMAGES_FILE, "rb") as file:
            file.seek(header_size(self.image_shape))
            update_from_file(digest, file)
        return digest.hexdigest()


def writable_pages(path: Path) -> np.ndarray:
    """An array whose file is mapped, which may be larger than the memory; writes are not kept.

    NumPy's own mode for this has the system set memory aside for every page, in case all are
    written.

    Args:
        path: `pathlib.Path`. A `.npy` file.

    Returns:
        Array of the file's shape and type.
    """
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    flags = mmap.MAP_PRIVATE | (MAP_NORESERVE if sys.platform == "linux" else 0)
    with open(path, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return np.ndarray(found.shape, found.dtype, pages, offset=found.offset)


def _classes(path: Path, description: dict[str, Any]) -> tuple[np.ndarray, StoredNames]:
    """The records of all classes, and their names."""
    if description["format_version"] == LISTED_VERSION:
        names = StoredNames.of(description["class_names"])
        return class_records(
            description["counts"], description["class_superclasses"], names.ends
        ), names
    records = np.load(path / CLASSES_FILE, mmap_mode="r", allow_pickle=False)
    text = np.load(path / NAMES_FILE, mmap_mode="r", allow_pickle=False)
    if records.dtype != CLASS_RECORD or records.shape != (description["num_classes"],):
        raise ValueError(f"{CLASSES_FILE} has {records.shape[0]} records of {records.dtype}")
    if text.dtype != np.uint8 or text.shape != (records["name_end"][-1],):
        raise ValueError(f"{NAMES_FILE} has {text.size} bytes, of another number of names")
    return records, StoredNames(text, records["name_end"])


def class_records(
    counts: Sequence[int], superclasses: Sequence[int], name_ends: np.ndarray
) -> np.ndarray:
    """Records of classes that are in no split; lists of another length are a `ValueError`."""
    records = np.zeros(len(name_ends), CLASS_RECORD)
    records["count"], records["superclass"], records["name_end"] = counts, superclasses, name_ends
    records["split"] = NO_SPLIT
    return records


def names_digest(
    names: Sequence[str],
    superclasses: Sequence[str],
    counts: Sequence[int],
    image_shape: Sequence[int],
) -> Any:
    # The digest of one JSON list of all classes, without the whole of its text in memory.
    digest = hashlib.sha256(f"[{json.dumps(list(image_shape))}".encode())
    for entry in zip(names, superclasses, counts, strict=True):
        digest.update(f", {json.dumps(entry)}".encode())
    digest.update(b"]")
    return digest


def update_from_file(digest: Any, file: BinaryIO) -> None:
    while block := file.read(1 << 22):
        digest.update(block)


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def header_size(image_shape: tuple[int, int, int]) -> int:
    """Bytes before the pixels; NumPy pads the header so that the image count does not matter."""
    buffer = io.BytesIO()
    write_header(buffer, (0, *image_shape))
    return buffer.tell()
