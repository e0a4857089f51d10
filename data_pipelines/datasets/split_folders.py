"""Class folders, and the division into splits that the folders around them make."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from data_pipelines.datasets.folder_listing import (
    FolderListing,
    left_out_words,
    list_class,
    list_folder,
    printable,
)

LAYOUT = "<class>/*, <superclass>/<class>/* or {train,val,test}/<class>/*"

#: Names of folders that divide classes, in small letters.
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

#: Folders that are called after what lies in them, not after a class, in small letters.
IMAGE_FOLDERS = {"image", "images", "img", "imgs", "photos", "pictures", "jpeg", "jpg", "png"}

_WORDS = re.compile(r"[\W\d_]+")


class FoundClasses(NamedTuple):
    """Files of each class, the division that the folders make, and what was left out."""

    files: dict[str, list[Path]]
    splits: dict[str, list[str]] | None
    left_out: Counter[str]


def find_classes(source: Path, merge: bool = False) -> FoundClasses:
    """Image files of each class.

    Args:
        source: `pathlib.Path`. The folder.
        merge: bool. Whether a class may lie under several of `train`, `val` and `test`. Defaults
            to `False`.

    Returns:
        `FoundClasses`: files by class name (`<class>` or `<superclass>/<class>`), the lists of
        classes per split where the folders name splits, else `None`, and what was left out.

    Raises:
        ValueError: the folder has another layout, or names splits in part.
    """
    found = list_folder(source)
    if not found.folders:
        raise ValueError(f"{source} has no folders; expected {LAYOUT}.")
    if not _are_splits(source, found.folders):
        files, left_out = _classes_in(source)
        _refuse_divided_images(source, files)
        return FoundClasses(files, None, left_out)
    files, lists, left_out = {}, {}, _beside(found)
    for folder in found.folders:
        split = SPLIT_FOLDERS[folder.name.lower()]
        inner, others = _classes_in(folder)
        _refuse_divided_images(folder, inner)
        _refuse_images_without_class(folder, inner)
        left_out += others
        for name in inner:
            if name in files and not merge:
                raise ValueError(
                    f"Class {name!r} lies under {folder.name}/ and under another split of "
                    f"{source}; in few-shot learning a class belongs to one split. Give "
                    "--split_ratio or --split_file to merge its images and divide the classes."
                )
            files[name] = files.get(name, []) + inner[name]
            lists.setdefault(split, []).append(name)
    return FoundClasses(files, lists, left_out)


def _are_splits(source: Path, folders: tuple[Path, ...]) -> bool:
    """Whether the folders are splits; refused where only some are, or in words not known."""
    named = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if len(named) == len(folders):
        return True
    # `train` may be a class, between `bus` and `tram`: then it holds images, not classes.
    around = [folder for folder in folders if not list_folder(folder).images]
    splits = [folder for folder in named if folder in around]
    if all(_splits_meant(folder.name) for folder in folders):
        around = folders
    if not splits and len({split for f in around for split in _splits_meant(f.name)}) < 2:
        return False
    other = next(folder for folder in folders if folder.name.lower() not in SPLIT_FOLDERS)
    first = splits[0] if splits else other
    beside = f"{first.name}/" if first == other else f"{first.name}/ and {other.name}/"
    raise ValueError(
        f"{source} has {printable(beside)}: is it divided or not? Name the folders train, val and "
        "test, move the others out of it, or rename them if they are classes."
    )


def _splits_meant(name: str) -> set[str]:
    """Splits that a folder's name may mean, such as `train_images` or `TestSet`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower().removesuffix("set") for word in _WORDS.split(spaced)]
    return {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}


def _refuse_divided_images(root: Path, files: dict[str, list[Path]]) -> None:
    """`cat/train/*` and `cat/test/*` are no classes named train and test."""
    inner: dict[str, list[str]] = {}
    for name in files:
        superclass, slash, last = name.rpartition("/")
        if slash:
            inner.setdefault(superclass, []).append(last)
    for superclass, names in inner.items():
        if all(name.lower() in SPLIT_FOLDERS for name in names):
            raise ValueError(
                f"{root / superclass} holds {', '.join(f'{name}/' for name in names)}: that "
                "divides the images of a class, but in few-shot learning a class belongs to one "
                f"split. Put them into one folder; expected {LAYOUT}."
            )


def _refuse_images_without_class(root: Path, files: dict[str, list[Path]]) -> None:
    """`val/images/*`, whose labels stand in a text file, is no class named images."""
    if len(files) == 1 and next(iter(files)).lower() in IMAGE_FOLDERS:
        name = next(iter(files))
        raise ValueError(
            f"{root / name} holds images of all classes, and nothing says of which each is; sort "
            f"them into a folder for each class, or remove {root}. Expected {LAYOUT}."
        )


def _classes_in(root: Path) -> tuple[dict[str, list[Path]], Counter[str]]:
    files: dict[str, list[Path]] = {}
    found = list_folder(root)
    left_out = _beside(found)
    for folder in found.folders:
        name = printable(folder.name)
        found = list_class(folder)
        left_out += Counter(found.left_out)
        inner = {f"{name}/{printable(entry.name)}": entry for entry in found.folders}
        if len(inner) == 1 and found.folders[0].name.lower() in IMAGE_FOLDERS:
            # `<class>/images/*`, as in Tiny ImageNet.
            inner = {name: found.folders[0]}
        for label, entry in (inner or {name: folder}).items():
            if inner:
                found = list_class(entry)
                left_out += Counter(found.left_out)
            if not found.images:
                words = left_out_words(found.left_out)
                besides = f" that can be read here (left out: {words})" if words else ""
                raise ValueError(
                    f"{entry} has no images{besides}; fill or remove it. Expected {LAYOUT}."
                )
            files[label] = list(found.images)
    if not files:
        raise ValueError(f"{root} has no class folders; expected {LAYOUT}.")
    return files, left_out


def _beside(found: FolderListing) -> Counter[str]:
    """What is left out of a folder of folders: its own images, too."""
    return Counter(found.left_out) + Counter({"beside the class folders": len(found.images)})
