"""Images as people have them: folders, paths, pictures, arrays; read by the one reader."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.datasets.image_files import DEEP, check_headers, fitted, read_image
from data_pipelines.datasets.value_range import ValueRange
from kfsl.prediction.image_folders import find_queries

#: What the last axis of an array can be: grey, RGB, RGB and transparency.
CHANNELS = (1, 3, 4)
WHAT = (
    "a folder, paths, pictures of PIL, or arrays [height, width] or [height, width, channels] of "
    "1, 3 or 4 channels"
)


@dataclasses.dataclass(frozen=True)
class ImageInputs:
    """Images of one call, not yet read.

    Args:
        items: tuple of `pathlib.Path`, `PIL.Image.Image` or arrays `[h, w]` or `[h, w, C]`.
        names: tuple of str. What each is called in messages.

    Example:
    ```python
    import numpy as np
    from kfsl.classifier.image_inputs import ImageInputs

    deep = np.full((2, 9, 7), 65535, "uint16")
    assert ImageInputs.of(deep).pixels((4, 4, 3)).shape == (2, 4, 4, 3)
    ```
    """

    items: tuple[Any, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, images: Any) -> "ImageInputs":
        """Finds the images of whatever was given.

        Args:
            images: str or path of an image or of a folder of images; or a sequence of paths, of
                pictures of PIL, or of arrays; or one array or tensor `[n, h, w]` or
                `[n, h, w, C]`, of pixels of any usual range.

        Raises:
            FileNotFoundError: there is no such file or folder.
            ValueError: it is nothing of that kind, or has no images.
        """
        if isinstance(images, str | os.PathLike):
            found = find_queries(os.fspath(images))
            return cls(found.files, tuple(found.names))
        if isinstance(images, Image.Image):
            raise ValueError("Received one picture: give a list of them, [picture].")
        items = tuple(_item(each, place) for place, each in enumerate(_rows(images)))
        if not items:
            raise ValueError("Received no image.")
        return cls(items, tuple(_name(each, place) for place, each in enumerate(items)))

    def __len__(self) -> int:
        return len(self.items)

    def parts(self, size: int) -> list["ImageInputs"]:
        """The same images, some at a time: a photo library does not fit into memory.

        Args:
            size: int. At most so many in each.
        """
        return [
            ImageInputs(self.items[start : start + size], self.names[start : start + size])
            for start in range(0, len(self), size)
        ]

    def values(self) -> ValueRange:
        """The values of those images that have more than 8 bits.

        Raises:
            ValueError: an image cannot be read, or its values fit in no usual range.
        """
        found = check_headers(item for item in self.items if isinstance(item, Path)).values
        for item, name in zip(self.items, self.names, strict=True):
            if _is_deep(item):
                try:
                    found = found.joined(ValueRange.of(np.asarray(item)))
                except ValueError as error:
                    raise ValueError(f"Cannot read {name}: {error}.") from error
        return found

    def pixels(
        self, image_shape: tuple[int, int, int], values: ValueRange | None = None
    ) -> np.ndarray:
        """Reads all images in one shape, as `kfsl.predict` and `prepare` do.

        Args:
            image_shape: tuple of three ints. Height, width and channels.
            values: `ValueRange` or None. Of all images that are to be compared; None: of these.

        Returns:
            uint8 array, `[n, height, width, channels]`.

        Raises:
            ValueError: naming the first image that cannot be read.
        """
        values = self.values() if values is None else values
        pixels = []
        for item, name in zip(self.items, self.names, strict=True):
            try:
                pixels.append(_pixels(item, image_shape, values))
            except OSError as error:
                raise ValueError(f"Cannot read {name}: {error}.") from error
        return np.stack(pixels)


def _rows(images: Any) -> Sequence[Any]:
    if isinstance(images, list | tuple):
        return images
    try:
        array = np.asarray(images)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Images are {WHAT}; received {type(images).__name__}.") from error
    if array.ndim == 0:
        raise ValueError(f"Images are {WHAT}; received {type(images).__name__}.")
    if array.dtype == object or array.dtype.kind == "U":
        if array.ndim != 1:
            raise ValueError(f"Paths come in one dimension; received the shape {array.shape}.")
        return array.tolist()
    if array.ndim == 3 and array.shape[-1] in CHANNELS:
        raise ValueError(
            f"Is the array of shape {array.shape} one image, or many of a width of "
            f"{array.shape[-1]}? Give arrays [n, height, width, channels]: images[None] for one, "
            "images[..., None] for many grey ones."
        )
    if array.ndim not in (3, 4):
        raise ValueError(
            f"Images are [n, height, width] or [n, height, width, channels]; received an array of "
            f"the shape {array.shape}."
        )
    return array


def _item(item: Any, place: int) -> Any:
    """A path, a picture or a checked array."""
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise FileNotFoundError(f"The image {str(path)!r} {found}.")
        return path
    if isinstance(item, Image.Image):
        return item
    array = np.asarray(item)
    # Bytes, text and objects are no numbers.
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
        raise ValueError(
            f"Images are {WHAT}; image {place} is {type(item).__name__} of the shape {array.shape}."
        )
    if array.ndim == 3 and array.shape[-1] not in CHANNELS:
        raise ValueError(
            f"The last axis of an image has 1, 3 or 4 channels; image {place} has the shape "
            f"{array.shape}."
        )
    if not array.size:
        raise ValueError(f"Image {place} is empty: it has the shape {array.shape}.")
    return array


def _name(item: Any, place: int) -> str:
    return str(item) if isinstance(item, Path) else f"image {place}"


def _is_deep(item: Any) -> bool:
    if isinstance(item, Image.Image):
        return item.mode.startswith(DEEP)
    return isinstance(item, np.ndarray) and item.dtype not in (np.uint8, np.bool_)


def _pixels(item: Any, image_shape: tuple[int, int, int], values: ValueRange) -> np.ndarray:
    if isinstance(item, Path):
        return read_image(item, image_shape, values)
    if isinstance(item, np.ndarray):
        item = _picture(item, values)
    return fitted(item, image_shape, values)


def _picture(array: np.ndarray, values: ValueRange) -> Image.Image:
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        array = values.eight_bits(array)
    grey = array.ndim == 3 and array.shape[-1] == 1
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if grey else array))
