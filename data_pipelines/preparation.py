"""One preparation: read, write, verify, and appear under its name at the very end."""

import contextlib
import errno
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from data_pipelines.class_store import ClassStore
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.image_files import check_headers

try:
    import fcntl
except ImportError:  # Only POSIX has it; elsewhere two preparations at a time are not refused.
    fcntl = None


@dataclass(frozen=True)
class Preparation:
    """Makes the class store of a dataset, or verifies the one that is there.

    Args:
        module: the dataset's module, with `INFO` and `reader`.
        path: `pathlib.Path` of the store to make.
        source: `pathlib.Path` of the images, or `None`.
        min_images_per_class: `int`, fewer images in any class are an error.
        options: mapping, further arguments of the module's `reader`.
    """

    module: ModuleType
    path: Path
    source: Path | None = None
    min_images_per_class: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def info(self) -> DatasetInfo:
        return self.module.INFO

    def run(self) -> str:
        """Does it.

        Returns:
            One line that says what is there now.

        Raises:
            ValueError, OSError: with one line for the user. Nothing is left behind.
        """
        if self.path.exists():
            store = self._verify(self.path)
            self._check_same_request(store)
            return f"{_summary(store)} Was there already, verified."
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _claim(self.path) as partial:
            self._write(partial)
            self._verify(partial / "store")
            if (partial / "tfds").exists():
                os.replace(partial / "tfds", partial / "store" / "tfds")
            os.replace(partial / "store", self.path)
        return _summary(ClassStore.open(self.path))

    def _reader(self, work_dir: Path) -> DatasetReader:
        return self.module.reader(self.source, work_dir, **self.options)

    def _write(self, partial: Path) -> None:
        reader = self._reader(partial)
        self._check_counts(reader)
        check_headers(reader.files)
        size = reader.num_images * math.prod(reader.image_shape)
        # TFRecords of compressed images come on top.
        _require_space(self.path.parent, size if reader.build is None else 3 * size // 2)
        metadata = {
            "name": self.path.name,
            "dataset": self.info.name,
            "description": self.info.description,
            "superclass": self.info.superclass,
            "licence": self.info.licence,
            "citation": self.info.citation,
            "rotations": 1,
            "versions": {name: version(name) for name in ("numpy", "pillow")},
            **reader.metadata,
        }
        with _disk_full_as_os_error():
            if reader.build is not None:
                reader.build()
            self._write_store(partial / "store", reader, metadata)

    def _write_store(self, path: Path, reader: DatasetReader, metadata: dict[str, Any]) -> None:
        with tqdm(
            total=reader.num_images, desc=self.path.name, unit="image", file=sys.stderr
        ) as progress:
            write_class_store(
                path,
                reader.classes,
                reader.images(),
                reader.image_shape,
                metadata,
                progress=progress.update,
            )

    def _check_counts(self, reader: DatasetReader) -> None:
        for entry in reader.classes:
            if entry.count < self.min_images_per_class:
                raise ValueError(
                    f"Class {entry.name!r} has {entry.count} images, "
                    f"--min_images_per_class={self.min_images_per_class} (shots and queries) asks "
                    "for more. Add images or remove the class."
                )
        expected = self.info.num_classes, self.info.num_images
        found = len(reader.classes), reader.num_images
        if any(e is not None and e != f for e, f in zip(expected, found, strict=True)):
            raise ValueError(
                f"{self.info.name} should have {expected[0]} classes and {expected[1]} images; "
                f"the source has {found[0]} and {found[1]}."
            )

    def _verify(self, path: Path) -> ClassStore:
        """Counts and checksum of a written store."""
        try:
            store = ClassStore.open(path)
        except FileNotFoundError as error:
            raise ValueError(
                f"{path} exists but holds no class store; delete it or give another --data_dir."
            ) from error
        found = store.num_classes, len(store.images)
        expected = self.info.num_classes or found[0], self.info.num_images or found[1]
        if found != expected:
            raise ValueError(
                f"{path} has {found[0]} classes and {found[1]} images, expected {expected[0]} and "
                f"{expected[1]}; delete the folder and prepare again."
            )
        if store.compute_fingerprint() != store.fingerprint:
            raise ValueError(
                f"{path} is damaged: its pixels do not have the recorded checksum. Delete the "
                "folder and prepare again."
            )
        if self.info.checksum and store.fingerprint != self.info.checksum:
            raise ValueError(
                f"{self.info.name} has checksum {store.fingerprint[:16]}, expected "
                f"{self.info.checksum[:16]}: {self.module.CHECKSUM_HINT}"
            )
        return store

    def _check_same_request(self, store: ClassStore) -> None:
        """An image folder that was prepared otherwise must not pass for the one asked for."""
        few = [
            (name, count)
            for name, count in zip(store.class_names, store.counts, strict=True)
            if count < self.min_images_per_class
        ]
        if few:
            raise ValueError(
                f"Class {few[0][0]!r} in {store.path} has {few[0][1]} images, "
                f"--min_images_per_class={self.min_images_per_class} asks for more."
            )
        if self.info.name != "image_folder" or self.source is None:
            return
        reader = self._reader(self.path.parent)
        now = {entry.name: entry.count for entry in reader.classes}
        then = dict(zip(store.class_names, store.counts.tolist(), strict=True))
        same = (
            now == then
            and tuple(reader.image_shape) == store.image_shape
            and reader.metadata["splits"] == store.metadata.get("splits")
        )
        if not same:
            raise ValueError(
                f"{store.path} was prepared from other images or options (size, split). Choose "
                "another --name, or delete the folder and prepare again."
            )


def _summary(store: ClassStore) -> str:
    height, width, channels = store.image_shape
    return (
        f"{store.metadata['name']}: {store.num_classes:,} classes in "
        f"{len(store.superclass_names)} superclasses, {len(store.images):,} images of "
        f"{height}x{width}x{channels}, fingerprint {store.fingerprint[:16]}, in {store.path}."
    )


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"{folder} has {free / 1e6:,.0f} MB free, {size / 1e6:,.0f} MB are needed. Free some "
            "space or give --data_dir."
        )


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[Path]:
    """An empty folder beside the store that one process owns; gone at the end, whatever happens."""
    partial = path.parent / f".{path.name}.partial"
    partial.mkdir(exist_ok=True)
    handle = os.open(partial, os.O_RDONLY)
    try:
        _lock(handle, path)
        # A process that was killed may have left files.
        for entry in partial.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"Another process is preparing {path} at this moment; wait for it to end."
        ) from error


@contextlib.contextmanager
def _disk_full_as_os_error() -> Iterator[None]:
    """TensorFlow reports a full disk with its own exceptions."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError)) or "No space left" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
