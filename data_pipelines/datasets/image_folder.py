"""Your own images: a folder for each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.class_division import (
    check_division,
    divide_by_ratio,
    parse_ratio,
    read_split_file,
)
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.image_files import list_folders, list_images, read_image

LAYOUT = "<class>/*, <superclass>/<class>/* or {train,val,test}/<class>/*"
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
NO_SUPERCLASS = "all"

INFO = DatasetInfo(
    name="image_folder",
    description="Your own images, a folder for each class.",
    superclass="the folder around the class folders, where there is one",
    licence="your own",
    citation="",
    homepage="",
    image_shape=None,
    num_classes=None,
    num_images=None,
    split_names=(),
)


def parse_options(
    image_size: str | int = 84,
    channels: int = 3,
    split_file: str | None = None,
    split_ratio: str | None = None,
    split_seed: int = 0,
) -> dict[str, Any]:
    """Turns the command's flags into arguments of `reader`.

    Raises:
        ValueError: a flag has no valid value, or two of them contradict each other.
    """
    parts = str(image_size).lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"--image_size={image_size}, expected a number of pixels such as 84, or HEIGHTxWIDTH."
        )
    if channels not in (1, 3):
        raise ValueError(f"--channels={channels}, expected 3 (colour) or 1 (grey).")
    if split_file and split_ratio:
        raise ValueError("--split_file and --split_ratio exclude each other; give one.")
    return {
        "image_shape": (int(parts[0]), int(parts[-1]), channels),
        "split_file": split_file,
        "split_ratio": parse_ratio(split_ratio) if split_ratio else None,
        "split_seed": split_seed,
    }


def split_lists(store: ClassStore, split: str | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Lists of classes per split.

    Args:
        store: `ClassStore`, the prepared folder.
        split: `str`, a JSON or CSV file; `None` for the lists made when the folder was prepared.
        seed: `int`; other than 0 it divides the classes anew by the recorded ratio.

    Returns:
        dict from split name to the list of classes.
    """
    if split is not None:
        return read_split_file(Path(split).expanduser(), store.class_names)
    if seed:
        if not store.metadata.get("split_ratio"):
            raise ValueError(
                f"split_seed={seed}, but the classes of {store.path} were not divided by a ratio."
            )
        return divide_by_ratio(store.class_names, store.metadata["split_ratio"], seed)
    return store.metadata["splits"]


def reader(
    source: Path | None,
    work_dir: Path,
    image_shape: tuple[int, int, int] = (84, 84, 3),
    split_file: str | None = None,
    split_ratio: tuple[float, ...] | None = None,
    split_seed: int = 0,
) -> DatasetReader:
    """Reads a tree of class folders.

    Args:
        source: `pathlib.Path`, the folder.
        work_dir: not needed.
        image_shape: tuple `(H, W, C)` in pixels.
        split_file: `str`, JSON or CSV file that divides the classes.
        split_ratio: tuple of shares of train, val and test (or of train and test). Default, when
            the folders do not divide the classes: 0.64, 0.16, 0.2.
        split_seed: `int`, which classes go where.

    Returns:
        A `DatasetReader`.

    Raises:
        ValueError: the folder has another layout, or the classes cannot be divided so.
    """
    if source is None:
        raise ValueError(f"--source=PATH is missing: a folder with {LAYOUT}.")
    chosen = bool(split_file or split_ratio)
    files, parts = find_classes(source, merge=chosen)
    names = sorted(files)
    if split_file:
        lists = read_split_file(Path(split_file).expanduser(), names)
    elif parts and not chosen:
        lists = parts
    else:
        split_ratio = split_ratio or parse_ratio("0.64,0.16,0.2")
        lists = divide_by_ratio(names, split_ratio, split_seed)
    check_division(lists)
    classes = [
        StoredClass(name, name.rpartition("/")[0] or NO_SUPERCLASS, len(files[name]))
        for name in names
    ]

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for index, name in enumerate(names):
            for file in files[name]:
                yield index, read_image(file, image_shape)

    metadata = {
        "source": str(source.resolve()),
        "splits": {split: list(members) for split, members in lists.items()},
        "split_ratio": list(split_ratio) if split_ratio else None,
    }
    every = [file for name in names for file in files[name]]
    return DatasetReader(classes, images, image_shape, metadata, files=every)


def find_classes(
    source: Path, merge: bool = False
) -> tuple[dict[str, list[Path]], dict[str, list[str]] | None]:
    """Image files of each class.

    Args:
        source: `pathlib.Path`, the folder.
        merge: `bool`, whether a class may lie under several of `train`, `val` and `test`.

    Returns:
        dict from class name (`<class>` or `<superclass>/<class>`) to its files; and the lists of
        classes per split where the folders name splits, else `None`.

    Raises:
        ValueError: the folder has another layout.
    """
    folders = list_folders(source)
    if not folders:
        raise ValueError(f"{source} has no folders; expected {LAYOUT}.")
    if not all(folder.name in SPLIT_FOLDERS for folder in folders):
        return _classes_in(source), None
    files: dict[str, list[Path]] = {}
    lists: dict[str, list[str]] = {}
    for folder in folders:
        split = SPLIT_FOLDERS[folder.name]
        for name, found in _classes_in(folder).items():
            if name in files and not merge:
                raise ValueError(
                    f"Class {name!r} lies under {folder.name}/ and under another split of "
                    f"{source}; in few-shot learning a class belongs to one split. Give "
                    "--split_ratio or --split_file to merge its images and divide the classes."
                )
            files[name] = files.get(name, []) + found
            lists.setdefault(split, []).append(name)
    return files, lists


def _classes_in(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for folder in list_folders(root):
        inner = list_folders(folder)
        found = list_images(folder)
        if inner and found:
            raise ValueError(
                f"{folder} has both images and folders, so it is neither a class nor a "
                f"superclass; expected {LAYOUT}."
            )
        if inner:
            files |= {f"{folder.name}/{entry.name}": list_images(entry) for entry in inner}
        else:
            files[folder.name] = found
    if not files:
        raise ValueError(f"{root} has no class folders; expected {LAYOUT}.")
    for name, found in files.items():
        if not found:
            raise ValueError(f"{root / name} has no images; fill or remove it.")
    return files
