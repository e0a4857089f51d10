"""Folders of a user's images: a support set with one folder per class, and queries."""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_pipelines.datasets.folder_listing import (
    FolderListing,
    left_out_words,
    list_below,
    list_class,
    list_folder,
    printable,
)
from data_pipelines.datasets.image_files import check_headers, read_image
from data_pipelines.datasets.value_range import ValueRange


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files and what else lay beside them.

    Args:
        root: `pathlib.Path`. The folder that was named, to which names are relative.
        files: tuple of `pathlib.Path`.
        left_out: mapping from a reason, such as `".txt"`, to the number of files left out for it.
            Defaults to none.
    """

    root: Path
    files: tuple[Path, ...]
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the files within the root, with `/` on every system, fit to be printed."""
        return [printable(file.relative_to(self.root).as_posix()) for file in self.files]

    @property
    def skipped(self) -> int:
        """Number of files left out."""
        return sum(self.left_out.values())

    def pixels(
        self, image_shape: tuple[int, int, int], values: ValueRange | None = None
    ) -> np.ndarray:
        """Reads all images, scaled to one shape as the training images were.

        Args:
            image_shape: tuple of three ints. Height, width and channels.
            values: `ValueRange` or None. What `common_values` found, where these images are not
                the whole set. Defaults to `None`.

        Returns:
            uint8 array, `[n, height, width, channels]`.

        Raises:
            ValueError: naming the first image that cannot be read.
        """
        values = common_values(self) if values is None else values
        return np.stack([read_image(file, image_shape, values) for file in self.files])


@dataclasses.dataclass(frozen=True)
class SupportFiles(ImageFiles):
    """The image files of a support set.

    Args:
        classes: tuple of str. Names of the class folders.
        labels: tuple of int. The class of each file.
    """

    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()

    @property
    def counts(self) -> list[int]:
        """Images of each class."""
        return [self.labels.count(label) for label in range(len(self.classes))]


def find_support(path: str, least: int = 2) -> SupportFiles:
    """Finds a support set: a folder with one folder of images per class.

    Args:
        path: str.
        least: int. Classes that there must be. Defaults to `2`.

    Returns:
        `SupportFiles`, classes and files sorted by name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are too few class folders, or one has no images.

    Example:
    ```python
    import tempfile
    from pathlib import Path
    from PIL import Image
    from kfsl.prediction.image_folders import find_support

    with tempfile.TemporaryDirectory() as folder:
        for name in ("cat", "dog"):
            (Path(folder) / name).mkdir()
            Image.new("L", (8, 8)).save(Path(folder) / name / "1.png")
        support = find_support(folder)
    assert support.classes == ("cat", "dog") and support.labels == (0, 1)
    ```
    """
    root = _folder(path, "support set")
    found = list_folder(root)
    # By the names that are shown, which a system may sort in another way than its own.
    folders = sorted(found.folders, key=lambda folder: printable(folder.name))
    layout = f"The support set needs one folder of images per class: {path}/<class>/*.png"
    if len(folders) < least:
        classes = "at least two classes" if least == 2 else f"at least {least} class"
        raise ValueError(f"{layout}, {classes}. {path!r} has {_instead(found)}.")
    files: list[Path] = []
    labels: list[int] = []
    left_out = Counter(found.left_out)
    left_out["beside the class folders"] += len(found.images)
    for label, folder in enumerate(folders):
        inside = list_class(folder)
        if not inside.images:
            words = left_out_words(inside.left_out)
            besides = f" that can be read here (left out: {words})" if words else ""
            raise ValueError(f"{layout}. The folder {str(folder)!r} has no image{besides}.")
        files += inside.images
        labels += [label] * len(inside.images)
        left_out.update(inside.left_out)
    names = tuple(printable(folder.name) for folder in folders)
    return SupportFiles(root, tuple(files), +left_out, names, tuple(labels))


def common_values(*sets: ImageFiles) -> ValueRange:
    """The range from which images of more than 8 bits are scaled, one for all sets.

    Args:
        sets: `ImageFiles`. Support set and queries, which are to be compared.

    Returns:
        `ValueRange`.

    Raises:
        ValueError: a file cannot be read; the message names it.
    """
    return check_headers(file for one in sets for file in one.files).values


def find_queries(path: str) -> ImageFiles:
    """Finds the images to classify: one file, or all in a folder and the folders in it.

    Args:
        path: str.

    Returns:
        `ImageFiles`, sorted by folder and name.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: the folder has no images.
    """
    file = Path(path)
    if file.is_file():
        return ImageFiles(file.parent, (file,))
    root = _folder(path, "query")
    found = list_below(root)
    if not found.images:
        words = left_out_words(found.left_out)
        besides = f" Left out: {words}." if words else ""
        raise ValueError(f"No image in {path!r}: name an image, or a folder of images.{besides}")
    return ImageFiles(root, found.images, found.left_out)


def _folder(path: str, what: str) -> Path:
    if os.path.isdir(path):
        return Path(path)
    found = "is a file, not a folder" if os.path.exists(path) else "does not exist"
    raise FileNotFoundError(f"The {what} {path!r} {found}.")


def _instead(found: FolderListing) -> str:
    if found.folders:
        return f"only the folder {printable(found.folders[0].name)!r}"
    return f"{len(found.images)} images directly in it" if found.images else "no images"
