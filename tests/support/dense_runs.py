"""Runs of dense classification and of implanting as training leaves them, but for the training."""

import keras

from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset
from kfsl import configurables
from kfsl.backbones.conv4 import Conv4
from kfsl.learners.dense_classification import DenseClassification
from kfsl.learners.implanting import Implanting
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

EXTRA = """
Experiment.learner = @letters_{kind}()
letters_{kind}.reading = {reading!r}
Experiment.dataset = @held_out_letters()
held_out_letters.path = {store!r}
fixed_episode.shots = 2
"""


@configurables.register
def held_out_letters(path: str) -> FewShotDataset:
    store = ClassStore.open(path)
    return FewShotDataset("letters", store, letters.SPLITS, held_out_images=3)


def backbone() -> Conv4:
    return Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2, bn_momentum=0.9)


@configurables.register
def letters_dense(reading: str = "dense", seed: int = 0) -> DenseClassification:
    keras.utils.set_random_seed(seed)
    return DenseClassification(backbone(), base_classes=5, reading=reading)


@configurables.register
def letters_implanting(reading: str = "dense", seed: int = 0, updates: int = 4) -> Implanting:
    keras.utils.set_random_seed(seed)
    return Implanting(
        backbone(), base_classes=5, reading=reading, after="block3_activation", channels=2,
        updates=updates, rate=0.05,
    )  # fmt: skip


def dense_run(path: str, store: str, kind: str = "dense", reading: str = "dense") -> RunDirectory:
    """A run directory whose learner, of `kind` dense or implanting, has weights of seed 0."""
    made = {"dense": letters_dense, "implanting": letters_implanting}[kind]
    extra = EXTRA.format(kind=kind, reading=reading, store=store)
    run = letters.trained_run(path, store, extra=extra)
    made(reading).save(run.best_learner)
    run.update_metadata({"dataset_fingerprint": held_out_letters(store).fingerprint})
    return run
