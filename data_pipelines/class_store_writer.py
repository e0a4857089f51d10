"""Writes class stores: images in any order, straight to their place on disk."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from data_pipelines.class_store import (
    CLASSES_FILE,
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    IMAGES_FILE,
    NAMES_FILE,
    StoredClass,
    class_records,
    header_size,
    names_digest,
    update_from_file,
    write_header,
)
from data_pipelines.stored_names import StoredNames


def write_class_store(
    path: str | os.PathLike,
    classes: Sequence[StoredClass],
    images: Iterable[tuple[int, np.ndarray]],
    image_shape: tuple[int, int, int],
    metadata: dict[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> str:
    """Writes a class store, whole or not at all.

    Images arrive one at a time, in any order of classes, and go straight to their place on disk;
    memory stays flat. The folder appears under its name only when it is complete.

    Args:
        path: str or path. The folder to make. It must not exist.
        classes: sequence of `StoredClass`. In the order that the store shall have.
        images: iterable of `(class index, uint8 array [H, W, C])`. Within a class the order of
            arrival is kept.
        image_shape: tuple `(H, W, C)` in pixels.
        metadata: dict or None. Kept as it is; JSON must be able to hold it. Defaults to `None`.
        progress: callable or None. Called with the number of images written, after each.
            Defaults to `None`.

    Returns:
        The fingerprint, SHA-256 in hex.

    Raises:
        FileExistsError: `path` exists.
        ValueError: a class name occurs twice, an image has another shape or type, or a class gets
            more or fewer images than it announced.
        OSError: for example when the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; a class store is never overwritten.")
    _check_classes(classes)
    partial = path.parent / f".{path.name}.writing-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fingerprint = _write_files(
            partial, classes, images, tuple(image_shape), metadata or {}, progress
        )
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return fingerprint


def _check_classes(classes: Sequence[StoredClass]) -> None:
    if not classes:
        raise ValueError("A class store needs at least one class, received none.")
    seen = set()
    for entry in classes:
        if entry.name in seen:
            raise ValueError(f"Class {entry.name!r} occurs twice; class names must be unique.")
        if entry.count < 1:
            raise ValueError(f"Class {entry.name!r} has {entry.count} images, expected at least 1.")
        seen.add(entry.name)


def _write_files(
    folder: Path,
    classes: Sequence[StoredClass],
    images: Iterable[tuple[int, np.ndarray]],
    image_shape: tuple[int, int, int],
    metadata: dict[str, Any],
    progress: Callable[[int], object] | None,
) -> str:
    counts = np.array([entry.count for entry in classes], np.int64)
    superclass_names = sorted({entry.superclass for entry in classes})
    rank = {name: i for i, name in enumerate(superclass_names)}
    digest = names_digest(
        [entry.name for entry in classes],
        [entry.superclass for entry in classes],
        counts.tolist(),
        image_shape,
    )
    with open(folder / IMAGES_FILE, "w+b") as file:
        header = header_size(image_shape)
        write_header(file, (int(counts.sum()), *image_shape))
        _reserve(file, header + int(counts.sum()) * int(np.prod(image_shape)))
        _write_images(file, header, classes, counts, images, image_shape, progress)
        file.seek(header)
        update_from_file(digest, file)
        os.fsync(file.fileno())
    description = {
        "format_version": FORMAT_VERSION,
        "num_classes": len(classes),
        "superclass_names": superclass_names,
        "metadata": {**metadata, "image_shape": list(image_shape)},
        "fingerprint": digest.hexdigest(),
    }
    names = StoredNames.of(entry.name for entry in classes)
    records = class_records(counts, [rank[entry.superclass] for entry in classes], names.ends)
    _move_splits(description, records, names)
    _write_array(folder / CLASSES_FILE, records)
    _write_array(folder / NAMES_FILE, names.text)
    with _written(folder / DESCRIPTION_FILE) as file:
        file.write(json.dumps(description, ensure_ascii=False).encode())
    return description["fingerprint"]


def _move_splits(description: dict[str, Any], records: np.ndarray, names: Sequence[str]) -> None:
    """Takes lists of classes out of the metadata into the classes' records.

    Lists of other names, such as those of classes before their rotations, stay where they are.
    """
    metadata = description["metadata"]
    if "splits" not in metadata or metadata.get("rotations", 1) > 1:
        return
    place = {name: row for row, name in enumerate(names)}
    rows = {
        split: np.array([place.get(name, -1) for name in members], np.int64)
        for split, members in metadata["splits"].items()
    }
    listed = np.concatenate([np.zeros(0, np.int64), *rows.values()])
    if (listed < 0).any() or np.unique(listed).size != listed.size:
        return
    del metadata["splits"]
    description["splits"] = list(rows)
    for number, chosen in enumerate(rows.values()):
        records["split"][chosen] = number


def _write_array(path: Path, array: np.ndarray) -> None:
    with _written(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that is on the disk when it is closed."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _write_images(
    file: BinaryIO,
    header: int,
    classes: Sequence[StoredClass],
    counts: np.ndarray,
    images: Iterable[tuple[int, np.ndarray]],
    image_shape: tuple[int, int, int],
    progress: Callable[[int], object] | None,
) -> None:
    offsets = np.cumsum(counts) - counts
    filled = np.zeros_like(counts)
    size = int(np.prod(image_shape))
    for index, image in images:
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.shape != image_shape:
            raise ValueError(
                f"An image of class {classes[index].name!r} is {image.dtype} {image.shape}, "
                f"expected uint8 {image_shape}."
            )
        if filled[index] == counts[index]:
            raise ValueError(
                f"Class {classes[index].name!r} got more than the {counts[index]} images that it "
                "announced."
            )
        # A plain write reports a full disk; a write through a memory map would kill the process.
        file.seek(header + int(offsets[index] + filled[index]) * size)
        file.write(image.tobytes())
        filled[index] += 1
        if progress is not None:
            progress(1)
    file.flush()
    short = np.flatnonzero(filled < counts)
    if short.size:
        first = short[0]
        raise ValueError(
            f"Class {classes[first].name!r} got {filled[first]} images, announced "
            f"{counts[first]} ({short.size} such classes)."
        )


def _reserve(file: BinaryIO, size: int) -> None:
    """Claims the space at once, so that a full disk shows before the work begins."""
    file.flush()
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
