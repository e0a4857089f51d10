"""Folders of a user's images: a support set with one folder per class, and queries."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from data_pipelines.datasets.image_files import list_folders, list_images, read_image


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files and what else lay beside them.

    Args:
        root: `pathlib.Path`. The folder that was named, to which names are relative.
        files: tuple of `pathlib.Path`.
        skipped: int. Hidden files and files that are no images.
    """

    root: Path
    files: tuple[Path, ...]
    skipped: int = 0

    @property
    def names(self) -> list[str]:
        """Names of the files within the root, with `/` on every system."""
        return [file.relative_to(self.root).as_posix() for file in self.files]

    def pixels(self, image_shape: tuple[int, int, int]) -> np.ndarray:
        """Reads all images, scaled to one shape as the training images were.

        Args:
            image_shape: tuple of three ints. Height, width and channels.

        Returns:
            uint8 array, `[n, height, width, channels]`.

        Raises:
            ValueError: naming the first image that cannot be read.
        """
        return np.stack([read_image(file, image_shape) for file in self.files])


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


def find_support(path: str) -> SupportFiles:
    """Finds a support set: a folder with one folder of images per class.

    Args:
        path: str.

    Returns:
        `SupportFiles`, classes and files sorted by name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no class folders, only one, or one has no images.

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
    folders = list_folders(root)
    layout = f"The support set needs one folder of images per class: {path}/<class>/*.png"
    if len(folders) < 2:
        loose = list_images(root)
        found = f"{len(loose)} images directly in it" if loose else "no images"
        if folders:
            found = f"only the folder {folders[0].name!r}"
        raise ValueError(f"{layout}, at least two classes. {path!r} has {found}.")
    files: list[Path] = []
    labels: list[int] = []
    skipped = _files_in(root)
    for label, folder in enumerate(folders):
        images = list_images(folder)
        if not images:
            raise ValueError(f"{layout}. The folder {str(folder)!r} has no image.")
        files += images
        labels += [label] * len(images)
        skipped += _files_below(folder) - len(images)
    return SupportFiles(
        root, tuple(files), skipped, tuple(folder.name for folder in folders), tuple(labels)
    )


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
    files: list[Path] = []
    for parent, folders, _ in os.walk(root):
        # In place: os.walk goes on with what is left, in this order.
        folders[:] = [folder.name for folder in list_folders(Path(parent))]
        files += list_images(Path(parent))
    if not files:
        raise ValueError(f"No image in {path!r}: name an image, or a folder of images.")
    return ImageFiles(root, tuple(files), _files_below(root) - len(files))


def _folder(path: str, what: str) -> Path:
    if os.path.isdir(path):
        return Path(path)
    found = "is a file, not a folder" if os.path.exists(path) else "does not exist"
    raise FileNotFoundError(f"The {what} {path!r} {found}.")


def _files_in(folder: Path) -> int:
    return sum(entry.is_file() for entry in folder.iterdir())


def _files_below(folder: Path) -> int:
    return sum(entry.is_file() for entry in folder.rglob("*"))
