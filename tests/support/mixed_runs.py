"""Runs on a mixture of two modes as training leaves them, but for the training."""

import os

import keras
import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from kfsl import configurables
from kfsl.backbones.conv4 import Conv4
from kfsl.learners.base.learner import Learner
from kfsl.learners.modulated_prototypical_network import ModulatedPrototypicalNetwork
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

MODES = ("plain", "dark")
SPLITS = {name: [*classes, *(15 + i for i in classes)] for name, classes in letters.SPLITS.items()}

EXTRA = """
Experiment.learner = {learner}
Experiment.dataset = @mixed_letters()
mixed_letters.path = {store!r}
Experiment.sampler = @mixture_episode
Experiment.evaluation_sampler = @mixture_episode
mixture_episode.ways = 3
mixture_episode.queries = 4
"""


def write_mixed(path: str) -> str:
    """The letters as they are, and the same ones dark, each a mode."""
    letters.write_letters(f"{path}-plain")
    plain = ClassStore.open(f"{path}-plain")
    classes = [
        StoredClass(f"{mode}/{name}", "all", int(count))
        for mode in MODES
        for name, count in zip(plain.class_names, plain.counts, strict=True)
    ]
    owners = np.repeat(np.arange(30), [entry.count for entry in classes])
    images = np.concatenate([plain.images, plain.images // 4])
    write_class_store(
        path,
        classes,
        zip(owners.tolist(), images, strict=True),
        image_shape=letters.SHAPE,
        metadata={
            "name": "mixed", "modes": list(MODES), "mode_rotations": [1, 1],
            "class_modes": [0] * 15 + [1] * 15,
        },
    )  # fmt: skip
    return path


@configurables.register
def mixed_letters(path: str) -> FewShotDataset:
    return FewShotDataset("mixed", ClassStore.open(path), SPLITS)


@configurables.register
def mixed_network(generator: str = "factorised", seed: int = 0) -> ModulatedPrototypicalNetwork:
    keras.utils.set_random_seed(seed)
    backbone, encoder = (Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2) for _ in range(2))
    return ModulatedPrototypicalNetwork(
        backbone, encoder, ways=3, generator=generator, embedding_size=8
    )


def mixed_run(
    path: str, store: str, generator: str | None = "factorised", kept: tuple[int, ...] = ()
) -> RunDirectory:
    """A run of MProtoNet, or of ProtoNet without a generator.

    The learner of a kept epoch has weights of that seed, the best one of seed 0.
    """

    def made(seed: int = 0) -> Learner:
        if generator is None:
            return letters.prototypical_network(seed)
        return mixed_network(generator, seed)

    run = RunDirectory(path)
    lines = EXTRA.format(
        store=store, learner="@mixed_network()" if generator else "@letters_network()"
    )
    if generator:
        lines += f"mixed_network.generator = {generator!r}\n"
    run.start(configurables.parse_text(lines))
    for epoch in kept:
        os.makedirs(os.path.dirname(run.kept_learner(epoch)), exist_ok=True)
        made(epoch).save(run.kept_learner(epoch))
    os.makedirs(os.path.dirname(run.best_learner))
    made().save(run.best_learner)
    run.update_metadata({"seed": 0, "dataset_fingerprint": mixed_letters(store).fingerprint})
    return run
