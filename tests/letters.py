"""A small dataset that a learner can learn a little of, and experiments on it."""

import functools

import keras
import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass, write_class_store
from data_pipelines.dataset import FewShotDataset
from data_pipelines.sampling import fixed_episode
from kfsl.backbones.conv4 import Conv4
from kfsl.experiment import Experiment
from kfsl.learners.prototypical_network import PrototypicalNetwork

SHAPE = (8, 8, 1)
# Interleaved, so that a split's images do not lie side by side in the store.
SPLITS = {"train": [0, 3, 6, 9, 12], "val": [1, 4, 7, 10, 13], "test": [2, 5, 8, 11, 14]}


def write_letters(path: str, images: int = 8, noise: float = 80.0, name_prefix: str = "c") -> None:
    """15 classes of noisy patterns, the classes in three superclasses, sorted by name."""
    rng = np.random.default_rng(0)
    classes = [StoredClass(f"{name_prefix}{i:02d}", f"s{i % 3}", images + i % 2) for i in range(15)]
    patterns = rng.integers(0, 256, (15, *SHAPE))

    def drawings():
        for i, entry in enumerate(classes):
            for _ in range(entry.count):
                noisy = patterns[i] + rng.normal(0.0, noise, SHAPE)
                yield i, np.clip(noisy, 0, 255).astype("uint8")

    write_class_store(path, classes, drawings(), image_shape=SHAPE, metadata={"name": "letters"})


def letters(path: str) -> FewShotDataset:
    return FewShotDataset("letters", ClassStore.open(path), SPLITS)


def prototypical_network(seed: int = 0, **arguments) -> PrototypicalNetwork:
    keras.utils.set_random_seed(seed)
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2, bn_momentum=0.9)
    return PrototypicalNetwork(backbone, **arguments)


def experiment(path: str, sampler=None, learner=None) -> Experiment:
    return Experiment(
        learner=learner or prototypical_network(),
        dataset=letters(path),
        sampler=sampler or functools.partial(fixed_episode, ways=3, shots=1, queries=4),
    )
