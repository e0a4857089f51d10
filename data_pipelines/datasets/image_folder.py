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
from data_pipelines.datasets.folder_listing import printable
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.split_folders import LAYOUT, find_classes

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
    image_shape = parse_image_shape(image_size, channels)
    if split_file and split_ratio:
        raise ValueError("--split_file and --split_ratio exclude each other; give one.")
    return {
        "image_shape": image_shape,
        "split_file": split_file,
        "split_ratio": parse_ratio(split_ratio) if split_ratio else None,
        "split_seed": split_seed,
    }


def parse_image_shape(image_size: str | int, channels: int) -> tuple[int, int, int]:
    """The shape that two flags ask for.

    Raises:
        ValueError: a flag has no valid value.
    """
    parts = str(image_size).lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"--image_size={image_size}, expected a number of pixels such as 84, or HEIGHTxWIDTH."
        )
    if channels not in (1, 3):
        raise ValueError(f"--channels={channels}, expected 3 (colour) or 1 (grey).")
    return int(parts[0]), int(parts[-1]), channels


def split_lists(store: ClassStore, split: str | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Lists of classes per split.

    Args:
        store: `ClassStore`. The prepared folder.
        split: str or None. A JSON or CSV file; None: the lists made when the folder was prepared.
        seed: int. Other than 0 it divides the classes anew by the recorded ratio. Defaults to `0`.

    Returns:
        dict from split name to the list of classes.

    Raises:
        ValueError: if nothing divides the classes so.
    """
    if split is not None and seed:
        raise ValueError(
            f"split_seed={seed} has no effect: the classes are divided by {split}. Leave one out."
        )
    if split is not None:
        return read_split_file(Path(split).expanduser(), store.class_names)
    if seed:
        if not store.metadata.get("split_ratio"):
            raise ValueError(
                f"split_seed={seed} has no effect: the classes of {store.path} were not divided by "
                "a ratio. Leave it out."
            )
        return divide_by_ratio(store.class_names, store.metadata["split_ratio"], seed)
    if "splits" not in store.metadata:
        raise ValueError(
            f"The class store {store.path} has no lists of classes. Name a JSON or CSV file that "
            "divides them, load_dataset.split = 'FILE.json', or write the store anew with "
            "metadata={'splits': {'train': [...], 'test': [...]}}."
        )
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
        source: `pathlib.Path` or None. The folder.
        work_dir: not needed.
        image_shape: tuple `(H, W, C)` in pixels. Defaults to `(84, 84, 3)`.
        split_file: str or None. JSON or CSV file that divides the classes.
        split_ratio: tuple of float, or None. Shares of train, val and test (or of train and
            test); None, when the folders do not divide the classes: 0.64, 0.16, 0.2.
        split_seed: int. Which classes go where. Defaults to `0`.

    Returns:
        `DatasetReader`.

    Raises:
        ValueError: the folder has another layout, or the classes cannot be divided so.
    """
    if source is None:
        raise ValueError(f"--source=PATH is missing: a folder with {LAYOUT}.")
    chosen = bool(split_file or split_ratio)
    found = find_classes(source, merge=chosen)
    names = sorted(found.files)
    if split_file:
        lists = read_split_file(Path(split_file).expanduser(), names)
    elif found.splits and not chosen:
        lists = found.splits
    else:
        split_ratio = split_ratio or parse_ratio("0.64,0.16,0.2")
        lists = divide_by_ratio(names, split_ratio, split_seed)
    if split_seed and not split_ratio:
        raise ValueError(
            f"--split_seed={split_seed} has no effect: the classes are divided by "
            f"{split_file or 'the folders'}. Leave it out, or give --split_ratio."
        )
    check_division(lists)
    classes = [
        StoredClass(name, name.rpartition("/")[0] or NO_SUPERCLASS, len(found.files[name]))
        for name in names
    ]
    images = ImageSet(source, {name: found.files[name] for name in names}, found.left_out)

    def pixels() -> Iterator[tuple[int, np.ndarray]]:
        for index, name in enumerate(names):
            for file in images.files[name]:
                yield index, images.read(file, image_shape)

    metadata = {
        "source": printable(str(source.resolve())),
        "splits": {split: list(members) for split, members in lists.items()},
        "split_ratio": list(split_ratio) if split_ratio else None,
    }
    return DatasetReader(classes, pixels, image_shape, metadata, source=images)
