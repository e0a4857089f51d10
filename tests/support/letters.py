"""A small dataset that a learner can learn a little of, and experiments on it."""

import functools
import os

import keras
import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from data_pipelines.samplers import epoch_episode, fixed_episode
from kfsl import configurables
from kfsl.backbones.conv4 import Conv4
from kfsl.experiment import Experiment
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.runs.environment import environment
from kfsl.runs.run_directory import RunDirectory

SHAPE = (8, 8, 1)
# Interleaved, so that a split's images do not lie side by side in the store.
SPLITS = {"train": [0, 3, 6, 9, 12], "val": [1, 4, 7, 10, 13], "test": [2, 5, 8, 11, 14]}

#: What can happen to the bytes of a file.
DAMAGES = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "changed": lambda whole: _changed(whole, len(whole) // 2),
    "empty": lambda whole: b"",
}


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


def letters(path: str, turned: int = 0) -> FewShotDataset:
    """The letters; of each turn every split has the classes of the next."""
    lists = list(SPLITS.values())
    splits = dict(zip(SPLITS, lists[turned:] + lists[:turned], strict=True))
    return FewShotDataset("letters", ClassStore.open(path), splits)


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


@configurables.register
def letters_dataset(path: str, turned: int = 0) -> FewShotDataset:
    return letters(path, turned)


@configurables.register
def letters_network(bn_policy: str = "running") -> PrototypicalNetwork:
    return prototypical_network(bn_policy=bn_policy)


@configurables.register
def letters_epoch(split, seed, index, ways: int = 3) -> dict:
    return epoch_episode(split, seed, index, ways=ways, shots=1, queries=2)


CONFIG = """
WAYS = 3
Experiment.learner = @letters_network()
Experiment.dataset = @letters_dataset()
letters_dataset.path = {store!r}
Experiment.sampler = @letters_epoch
Experiment.evaluation_sampler = @test/fixed_episode
test/fixed_episode.ways = %WAYS
fixed_episode.queries = 4
"""


def trained_run(
    path: str, store: str, seed: int = 0, extra: str = "", turned: int = 0, **metadata
) -> RunDirectory:
    """A run directory as training leaves it, but for the training."""
    run = RunDirectory(path)
    extra += f"letters_dataset.turned = {turned}\n"
    run.start(configurables.parse_text(CONFIG.format(store=store) + extra))
    os.makedirs(os.path.dirname(run.best_learner))
    prototypical_network(seed).save(run.best_learner)
    dataset = letters(store, turned)
    run.update_metadata(
        {"seed": seed, "dataset_fingerprint": dataset.fingerprint, **environment(), **metadata}
    )
    return run


def _changed(whole: bytes, place: int) -> bytes:
    changed = bytes(255 - byte for byte in whole[place : place + 8])
    return whole[:place] + changed + whole[place + 8 :]
