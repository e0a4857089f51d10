"""A small exported learner that several tests share, and folders of images for it."""

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.maml import MAML
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support.contract import generic

SHAPE = (16, 16, 1)
#: Class folders, and the patterns and drawings in them, as `write_folder` takes them.
CLASSES = {
    "ant": [(0, i) for i in range(3)],
    "bee": [(1, i) for i in range(3)],
    "cat": [(2, i) for i in range(3)],
}


def prototypical_network(image_shape=(None, None, 1), **arguments) -> PrototypicalNetwork:
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=image_shape, filters=4, num_pools=2)
    # Scaled, so that an untrained network's scores differ by more than rounding.
    return generic(PrototypicalNetwork(backbone, scale=200.0, **arguments))


def maml(**arguments) -> MAML:
    """Four ways, three steps when served; its queries do not influence each other."""
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2)
    arguments = {"bn_policy": "support", "evaluation_steps": 3, "inner_rate": 0.2, **arguments}
    return generic(MAML(backbone, ways=4, steps=1, **arguments))


def description_of(path: str) -> dict[str, Any]:
    """What an export says of itself."""
    with open(os.path.join(path, "model.json"), encoding="utf-8") as file:
        return json.load(file)


def draw(pattern: int, drawing: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """One noisy image of a pattern; the same numbers give the same image."""
    blocks = np.random.default_rng(pattern).integers(0, 256, (4, 4))
    noise = np.random.default_rng((pattern, drawing)).normal(0.0, 10.0, (32, 32))
    pixels = np.clip(np.kron(blocks, np.ones((8, 8))) + noise, 0, 255).astype("uint8")
    return Image.fromarray(pixels).resize(size)


def write_folder(folder: Path, classes: dict[str, list[tuple[int, int]]]) -> str:
    """`<folder>/<class>/<drawing>.png` of `(pattern, drawing)` for each class."""
    for name, drawings in classes.items():
        (folder / name).mkdir(parents=True)
        for number, (pattern, drawing) in enumerate(drawings):
            draw(pattern, drawing).save(folder / name / f"{number}.png")
    return str(folder)


def write_queries(folder: Path) -> str:
    """One image of each of `CLASSES`, named after it; returns the folder."""
    folder.mkdir()
    for number, name in enumerate(CLASSES):
        draw(number, 9).save(folder / f"{name}.png")
    return str(folder)


def said(lines: list[str], text: str) -> bool:
    """Whether one of some printed lines has a text."""
    return any(text in line for line in lines)
