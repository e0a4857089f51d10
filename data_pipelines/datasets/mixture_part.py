"""One dataset of a mixture: its name, its lists of classes, and how its images are changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from data_pipelines.datasets.image_files import scaled
from data_pipelines.function_dataset import FunctionDataset

if TYPE_CHECKING:
    from data_pipelines.dataset import FewShotDataset

#: Cells of a texture on each side.
TEXTURE_CELLS = 7


def inverted(image: np.ndarray, seed: int) -> np.ndarray:
    """White on black where it was black on white."""
    del seed
    return 255 - image


def coloured(image: np.ndarray, seed: int) -> np.ndarray:
    """Shades between two colours, a dark and a light one, drawn for each image."""
    random = np.random.default_rng(seed)
    dark, light = random.integers(0, 120, 3), random.integers(136, 256, 3)
    shares = image.mean(-1, keepdims=True) / 255.0
    return np.round(dark + shares * (light - dark)).astype("uint8")


def textured(image: np.ndarray, seed: int) -> np.ndarray:
    """Half of the image, half of a coarse pattern of colours, drawn for each image."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (TEXTURE_CELLS, TEXTURE_CELLS, 3), dtype="uint8")
    size = (image.shape[1], image.shape[0])
    pattern = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC))
    return ((image.astype("uint16") + pattern) // 2).astype("uint8")


STYLES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "inverted": inverted,
    "coloured": coloured,
    "textured": textured,
}


#: Those that give an image colours: it needs 3 channels.
OF_COLOURS = ("coloured", "textured")


@dataclass(frozen=True)
class MixturePart:
    """A mode of a mixture.

    Args:
        text: str. As the user writes it, `NAME[@SPLIT][:STYLE...]`; it names the mode.
        name: str. Of the dataset, as `load_dataset` takes it.
        split: str or None. Which lists of classes, as `load_dataset` takes them.
        styles: tuple of str. Of `STYLES`, in their order.

    Example:
    ```python
    from data_pipelines.datasets.mixture_part import MixturePart

    part = MixturePart.parse("meta_cifar100@easy:inverted")
    assert (part.name, part.split, part.styles) == ("meta_cifar100", "easy", ("inverted",))
    ```
    """

    text: str
    name: str
    split: str | None = None
    styles: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> MixturePart:
        """Reads what the user writes.

        Raises:
            ValueError: for a style that does not exist, or an empty name.
        """
        front, *styles = text.strip().split(":")
        name, _, split = front.partition("@")
        unknown = [style for style in styles if style not in STYLES]
        if unknown:
            raise ValueError(
                f"--parts={text}: there is no style {unknown[0]!r}; there are {', '.join(STYLES)}."
            )
        if not name:
            raise ValueError(
                f"--parts={text}: a part is NAME[@SPLIT][:STYLE...], such as omniglot:inverted."
            )
        return cls(text.strip(), name, split or None, tuple(styles))

    def open(self, data_dir: str | None) -> FewShotDataset:
        """The prepared dataset.

        Raises:
            FileNotFoundError: if it is not prepared; the message names the command.
            ValueError: if it has no images, or is a mixture itself.
        """
        from data_pipelines.load_dataset import load_dataset

        data = load_dataset(self.name, self.split, data_dir)
        if isinstance(data, FunctionDataset):
            raise ValueError(
                f"--parts={self.text}: {self.name} has functions and no images. Leave it out."
            )
        # Its modes would become one, whose tasks mix them.
        if "modes" in data.store.metadata:
            raise ValueError(
                f"--parts={self.text}: {self.name} is a mixture itself, of "
                f"{', '.join(data.store.metadata['modes'])}. Name its parts in its place."
            )
        return data

    def image(self, pixels: np.ndarray, shape: tuple[int, int, int], number: int) -> np.ndarray:
        """An image in the mixture's shape and the part's style.

        Args:
            pixels: uint8 array, `[h, w, c]`, with 1 or 3 channels.
            shape: tuple, `(H, W, C)`.
            number: int. Of the image in its store: what a style draws depends on it alone.

        Returns:
            uint8 array, `[H, W, C]`.
        """
        channels = shape[2]
        pixels = scaled(pixels, shape[:2])
        if pixels.shape[-1] != channels:
            grey = pixels.astype("float64").mean(-1, keepdims=True)
            pixels = np.repeat(np.round(grey).astype("uint8"), channels, axis=-1)
        for style in self.styles:
            digest = hashlib.sha256(f"{self.text}:{number}".encode()).digest()
            pixels = STYLES[style](pixels, int.from_bytes(digest[:8], "little"))
        return pixels
