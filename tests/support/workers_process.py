"""Trains small learners of all families, alone or as a worker among others.

Called as `python -m tests.support.workers_process STRATEGY FOLDER STORE JOB...`, where STRATEGY is
`alone`, `mirrored` (two devices) or `multi_worker` (as TF_CONFIG says) and each job, `KIND:EPOCHS`
or `KIND:EPOCHS:NAME`, trains into a run directory of its name in the folder. `DIES_IN_EPOCH` and
`DYING_WORKER` in the environment kill a worker in the middle of an epoch; with `OWN_SEED` each has
another seed, and `FAILING_WORKER` is one that does not come to train.
"""

import functools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from data_pipelines.samplers import base_batch, fixed_episode
from kfsl.command_line.command import RESUMES, mistakes_in_one_line
from kfsl.distribution import strategy
from kfsl.experiment import Experiment
from kfsl.layers.normalization import BatchNormalization
from kfsl.learners import (
    MAML,
    CrossModulationPrototypicalNetwork,
    DenseClassification,
    ModulatedPrototypicalNetwork,
    PrototypicalNetwork,
    Reptile,
)
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import process
from kfsl.training import train as training
from kfsl.training.lost_worker import lost_worker_told
from tests.support import letters
from tests.support.backbones import two_blocks
from tests.support.training_process import Die

UNVALIDATED = {"validation_episodes": 0}


def backbone() -> keras.Model:
    images = keras.Input(letters.SHAPE)
    maps = BatchNormalization(momentum=0.8)(keras.layers.Conv2D(4, 3)(images))
    return keras.Model(images, keras.layers.Flatten()(keras.layers.Activation("elu")(maps)))


def metric() -> tuple[Experiment, dict]:
    """Moments of each episode."""
    return letters_experiment(PrototypicalNetwork(backbone())), {}


def single() -> tuple[Experiment, dict]:
    """In single precision; gradients are clipped."""
    keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.SGD(0.05, global_clipnorm=0.5)
    learner = PrototypicalNetwork(backbone(), weight_decay=1e-2)
    return letters_experiment(learner), {"optimizer": optimizer, **UNVALIDATED}


def second_order() -> tuple[Experiment, dict]:
    """Moving averages that move from task to task."""
    learner = MAML(backbone(), ways=3, steps=2, bn_policy="running")
    return letters_experiment(learner), UNVALIDATED


def drawn() -> tuple[Experiment, dict]:
    """Mini-batches of the inner loop, drawn for each task."""
    learner = Reptile(backbone(), ways=3, steps=2, inner_batch=2)
    return letters_experiment(learner), {"optimizer": keras.optimizers.SGD(1.0), **UNVALIDATED}


def modulated() -> tuple[Experiment, dict]:
    """A task encoder, whose moving averages move from task to task too."""
    learner = ModulatedPrototypicalNetwork(
        backbone_of_maps(), backbone_of_maps(), ways=3, embedding_size=4, bn_policy="running"
    )
    return letters_experiment(learner), UNVALIDATED


def cross_modulated() -> tuple[Experiment, dict]:
    """Layers behind the modulation see pairs, normalised together."""
    learner = CrossModulationPrototypicalNetwork(
        two_blocks(letters.SHAPE, filters=3), modulated=["block1_bn"],
        bn_policy="running", moments="meta_batch",
    )  # fmt: skip
    return letters_experiment(learner), UNVALIDATED


def base_classes() -> tuple[Experiment, dict]:
    """Batches of base classes, normalised together; the backbone has an optimiser of its own."""
    sampler = functools.partial(base_batch, batch_size=10)
    learner = DenseClassification(backbone_of_maps(), base_classes=5)
    evaluation = functools.partial(fixed_episode, ways=3, shots=1, queries=4)
    parts = {"backbone": keras.optimizers.SGD(0.1)}
    return letters_experiment(learner, sampler, evaluation), {"part_optimizers": parts}


def backbone_of_maps() -> keras.Model:
    whole = backbone()
    return keras.Model(whole.input, whole.layers[-2].output)


MADE = (metric, single, second_order, modulated, cross_modulated, drawn, base_classes)
KINDS = {each.__name__: each for each in MADE}


def letters_experiment(learner, sampler=None, evaluation=None) -> Experiment:
    default = functools.partial(fixed_episode, ways=3, shots=1, queries=4)
    return Experiment(
        learner=learner,
        dataset=letters.letters(STORE),
        sampler=sampler or default,
        evaluation_sampler=evaluation or default,
    )


def deaths() -> list[keras.callbacks.Callback]:
    if os.environ.get("DYING_WORKER") != str(strategy.worker()):
        return []
    return [Die("in", int(os.environ["DIES_IN_EPOCH"]))]


def train(path: str, kind: str, epochs: int) -> None:
    if os.environ.get("FAILING_WORKER") == str(strategy.worker()):
        raise ValueError("cannot begin")
    keras.utils.set_random_seed(3)
    keras.config.set_dtype_policy("float64")
    # Making a variable is a matter of all workers: commands guard it, too.
    with lost_worker_told(lambda: "nothing was begun", RuntimeError):
        experiment, arguments = KINDS[kind]()
    run = RunDirectory(path)
    session = training.train(
        experiment,
        run,
        **{"optimizer": keras.optimizers.Adam(1e-2), "validation_episodes": 4, **arguments},
        epochs=epochs,
        steps_per_epoch=3,
        meta_batch=4,
        seed=strategy.worker() if "OWN_SEED" in os.environ else 0,
        callbacks=deaths(),
    )
    if session.writes:
        run.start("")
    session.fit()


if __name__ == "__main__":
    chosen, folder, STORE, *jobs = sys.argv[1:]
    if chosen == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    with mistakes_in_one_line(RESUMES):
        process.set_up(threads=1, strategy=None if chosen == "alone" else chosen)
        for job in jobs:
            kind, count, *name = job.split(":")
            train(os.path.join(folder, *(name or [kind])), kind, int(count))
