"""Workbenches of the demo on small learners, and files to drop on them."""

from pathlib import Path

import keras

from kfsl.backbones.conv4 import Conv4
from kfsl.demo.demo_model import DemoModel
from kfsl.demo.workbench import Workbench
from kfsl.learners.stanet import STANet
from kfsl.prediction.served_learner import ServedLearner
from tests.support.exported_model import SHAPE, draw


def bench_of(learner, with_learner: bool = False, shape: tuple[int, int, int] = SHAPE) -> Workbench:
    """An empty workbench; with the learner itself at hand, as of a run, if that is asked."""
    served = ServedLearner.of(learner, shape)
    return Workbench(DemoModel(learner, "drawn", served, learner if with_learner else None))


def drawings(folder: Path, pattern: int, *numbers: int) -> list[Path]:
    """Files of drawings of one pattern."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{pattern}_{number}.png" for number in numbers]
    for file, number in zip(files, numbers, strict=True):
        draw(pattern, number).save(file)
    return files


def fill(bench: Workbench, folder: Path, **classes: tuple[int, ...]) -> None:
    """Makes classes, each of a pattern and the numbers of its drawings."""
    for name, (pattern, *numbers) in classes.items():
        bench.add_class(name)
        bench.add_images(name, drawings(folder, pattern, *numbers))


def stanet(ways: int) -> STANet:
    """Of that many ways, and no fewer."""
    keras.utils.set_random_seed(0)
    return STANet(Conv4(image_shape=SHAPE, filters=4, num_pools=2), ways=ways, num_layers=2)
