"""Trains small learners of all families, alone or as a worker among others.

Called as `python -m tests.support.workers_process STRATEGY FOLDER STORE EPOCHS KIND...`, where
STRATEGY is `alone`, `mirrored` (two devices) or `multi_worker` (as TF_CONFIG says); each kind
trains into a run directory of its own in the folder.
"""

import functools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from data_pipelines.samplers import base_batch, fixed_episode
from kfsl.backbones.conv4 import Conv4
from kfsl.experiment import Experiment
from kfsl.learners import MAML, DenseClassification, ModGrad, PrototypicalNetwork, Reptile
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import process
from kfsl.training import train as training
from tests.support import letters


def backbone() -> keras.Model:
    return Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2, bn_momentum=0.8)


def metric() -> tuple[Experiment, dict]:
    """Moments of each episode."""
    return letters_experiment(PrototypicalNetwork(backbone())), {}


def whole_moments() -> tuple[Experiment, dict]:
    """Moments of the whole meta-batch, and clipped gradients."""
    optimizer = keras.optimizers.SGD(0.05, global_clipnorm=0.5)
    learner = PrototypicalNetwork(backbone(), moments="meta_batch", weight_decay=1e-2)
    return letters_experiment(learner), {"optimizer": optimizer}


def second_order() -> tuple[Experiment, dict]:
    """Moving averages that move from task to task."""
    return letters_experiment(MAML(backbone(), ways=3, steps=2, bn_policy="running")), {}


def drawn() -> tuple[Experiment, dict]:
    """Mini-batches of the inner loop, drawn for each task."""
    learner = Reptile(backbone(), ways=3, steps=2, inner_batch=2)
    return letters_experiment(learner), {"optimizer": keras.optimizers.SGD(1.0)}


def parts() -> tuple[Experiment, dict]:
    """An optimiser of its own for a part."""
    learner = ModGrad(backbone(), ways=3, steps=1, context_size=3, columns=2)
    parts = {name: keras.optimizers.Adam(1e-2) for name in list(learner.weight_parts())[:1]}
    return letters_experiment(learner), {"part_optimizers": parts}


def base_classes() -> tuple[Experiment, dict]:
    """Batches of base classes, without support set."""
    sampler = functools.partial(base_batch, batch_size=10)
    learner = DenseClassification(backbone(), base_classes=5)
    evaluation = functools.partial(fixed_episode, ways=3, shots=1, queries=4)
    return letters_experiment(learner, sampler, evaluation), {}


KINDS = {
    each.__name__: each
    for each in (metric, whole_moments, second_order, drawn, parts, base_classes)
}


def letters_experiment(learner, sampler=None, evaluation=None) -> Experiment:
    default = functools.partial(fixed_episode, ways=3, shots=1, queries=4)
    return Experiment(
        learner=learner,
        dataset=letters.letters(STORE),
        sampler=sampler or default,
        evaluation_sampler=evaluation or default,
    )


def train(kind: str, path: str, epochs: int) -> None:
    keras.utils.set_random_seed(3)
    experiment, arguments = KINDS[kind]()
    run = RunDirectory(path)
    session = training.train(
        experiment,
        run,
        **{"optimizer": keras.optimizers.Adam(1e-2), **arguments},
        epochs=epochs,
        steps_per_epoch=3,
        meta_batch=4,
        validation_episodes=4,
    )
    if session.writes:
        run.start("")
    session.fit()


if __name__ == "__main__":
    strategy, folder, STORE, epochs, *kinds = sys.argv[1:]
    if strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    process.set_up(
        precision="float64", threads=1, strategy=None if strategy == "alone" else strategy
    )
    for kind in kinds:
        train(kind, os.path.join(folder, kind), int(epochs))
