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

import numpy as np
from tqdm import tqdm

from data_pipelines.claimed_folder import claimed_folder
from data_pipelines.class_store import ClassStore
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.load_dataset import load_dataset
from data_pipelines.shared_pictures import Place, shared_pictures
from data_pipelines.source_record import SourceRecord

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Preparation:
    """Makes the class store of a dataset, or verifies the one that is there.

    Args:
        module: module. The dataset's, with `INFO` and `reader`.
        path: `pathlib.Path`. The store to make.
        source: `pathlib.Path` or None. The images. Defaults to `None`.
        min_images_per_class: int. Fewer images in any class are an error. Defaults to `1`.
        options: mapping. Further arguments of the module's `reader`. Defaults to none.
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
            One line that says what is there now, then what the user should know of the images.

        Raises:
            ValueError, OSError: with one line for the user. Nothing is left behind.
        """
        if self.path.exists():
            store = self._verify(self.path)
            reader = self._compared_reader(store)
            lines = [f"{_summary(store)} {self._compared(store, reader)}"]
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            reader = self._make()
            lines = [_summary(ClassStore.open(self.path))]
        if reader is not None:
            lines += [*reader.notes, *(reader.source.notes() if reader.source else ())]
        return "\n".join([*lines, *self._shared(reader)])

    def _make(self) -> DatasetReader:
        with claimed_folder(self.path) as partial:
            reader = self._write(partial)
            self._verify(partial / "store")
            if (partial / "tfds").exists():
                os.replace(partial / "tfds", partial / "store" / "tfds")
            os.replace(partial / "store", self.path)
        return reader

    def _reader(self, work_dir: Path) -> DatasetReader:
        return self.module.reader(self.source, work_dir, **self.options)

    def _write(self, partial: Path) -> DatasetReader:
        reader = self._reader(partial)
        self._check_counts(reader)
        record = None
        if reader.source is not None:
            reader.source.check()
            record = SourceRecord.of(reader.source)
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
            **(reader.source.description() if reader.source else {}),
        }
        with _disk_full_in_words():
            if reader.build is not None:
                reader.build()
            self._write_store(partial / "store", reader, metadata)
            if record is not None:
                record.write(partial / "store")
        return reader

    def _write_store(self, path: Path, reader: DatasetReader, metadata: dict[str, Any]) -> None:
        with tqdm(
            total=reader.num_images,
            desc=self.path.name,
            unit="image",
            file=sys.stderr,
            # In a file, each step of a bar would be a line.
            disable=None,
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

    def _compared_reader(self, store: ClassStore) -> DatasetReader | None:
        """The source that was named now, as far as it can be compared with the store's."""
        self._check_fewest(store)
        if self.source is None and not self.info.from_stores:
            return None
        return self._reader(self.path.parent)

    def _check_fewest(self, store: ClassStore) -> None:
        few = np.flatnonzero(store.counts < self.min_images_per_class)
        if few.size:
            raise ValueError(
                f"Class {store.class_names[few[0]]!r} in {store.path} has {store.counts[few[0]]} "
                f"images, --min_images_per_class={self.min_images_per_class} asks for more."
            )

    def _compared(self, store: ClassStore, reader: DatasetReader | None) -> str:
        """Says how far the store is what was asked for; what was prepared otherwise is refused."""
        if reader is None:
            unseen = " No --source was named to compare it with." if self._is_read else ""
            return f"Was there already, verified.{unseen}"
        found = self._other_options(store, reader)
        record = SourceRecord.read(store.path)
        if record is not None and reader.source is not None:
            found += record.differences(SourceRecord.of(reader.source))
        elif not found and not self.info.from_stores:
            return (
                "Was there already, its pixels are whole; but it was not made from this source, or "
                "by a release that kept no record of it. To be sure, delete it and prepare again."
            )
        if found:
            raise ValueError(
                f"{store.path} was prepared from other images or options: {'; '.join(found)}. "
                "Choose another --name or --data_dir, or delete the folder and prepare again."
            )
        return "Was there already, verified."

    @property
    def _is_read(self) -> bool:
        """Whether the images come from somewhere else, and may be others the next time."""
        return self.info.checksum is None

    def _other_options(self, store: ClassStore, reader: DatasetReader) -> list[str]:
        now = {entry.name: entry.count for entry in reader.classes}
        then = dict(zip(store.class_names, store.counts.tolist(), strict=True))
        found = []
        if tuple(reader.image_shape) != store.image_shape:
            before, after = (
                "x".join(map(str, shape)) for shape in (store.image_shape, reader.image_shape)
            )
            found.append(f"its images are {before}, not {after}")
        if now.keys() != then.keys():
            other = min(now.keys() ^ then.keys())
            found.append(f"class {other!r} is {'new' if other in now else 'missing'}")
        elif now != then:
            other = min(name for name in now if now[name] != then[name])
            found.append(f"class {other!r} had {then[other]} images, it has {now[other]}")
        if reader.metadata.get("parts") != store.metadata.get("parts"):
            found.append("it is mixed of other parts, or they have changed")
        if _divided(reader.metadata) != _divided(store.metadata):
            found.append("the classes are divided otherwise")
        return found

    def _shared(self, reader: DatasetReader | None) -> list[str]:
        """A warning of pictures that lie in several splits."""
        try:
            dataset = load_dataset(self.path.name, data_dir=self.path.parent)
        except ValueError:
            # Lists that do not fit the store are refused when someone opens the dataset.
            return []
        found = shared_pictures(dataset)
        if not found:
            return []
        one, other = (self._place(dataset.store, place, reader) for place in found[0])
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return [
            "Warning: the same picture lies in classes of different splits, so what is learnt is "
            f"tested on: {one} = {other}{more}."
        ]

    def _place(self, store: ClassStore, place: Place, reader: DatasetReader | None) -> str:
        name = store.class_names[place.class_index]
        files = {}
        # TFDS shuffles, so that nothing says which file is which picture.
        if reader is not None and reader.source is not None and reader.build is None:
            files = reader.source.files
        # The names of rotated classes are not those of the files' classes.
        if name not in files:
            return f"image {place.number} of {name} ({place.split})"
        return f"{reader.source.name(files[name][place.number])} ({place.split})"


def _divided(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lists of classes, whose order means nothing."""
    return {split: sorted(classes) for split, classes in metadata.get("splits", {}).items()}


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
def _disk_full_in_words() -> Iterator[None]:
    """Whoever reports a full disk, the system or TensorFlow, one sentence says what to do."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in DISK_FULL and "No space left" not in str(error):
            raise
        name = getattr(error, "filename", None)
        where = f" while writing {name}" if name else ""
        raise OSError(
            f"The disk is full{where}; nothing was kept. Free some space or give --data_dir."
        ) from error
