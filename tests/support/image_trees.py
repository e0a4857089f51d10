"""Folders of small images, as users have them."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(file: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(file)


def write_tree(root: Path, classes: list[str], count: int = 3) -> Path:
    """`<class>/<i>.png`; the grey level tells class and image apart."""
    for c, name in enumerate(classes):
        for i in range(count):
            write_image(root / name / f"{i:02d}.png", 10 * c + i)
    return root


def first_pixels(store) -> np.ndarray:
    return np.asarray(store.images[:, 0, 0, 0])
