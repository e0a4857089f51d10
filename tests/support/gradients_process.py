"""What tests of gradients measure in a process of its own; prints JSON.

python -m tests.support.gradients_process replicas
python -m tests.support.gradients_process memory
python -m tests.support.gradients_process long_loop
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks.peak_memory import peak_memory
from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.gradients import MOST_UNROLLED
from kfsl.learners.base.learner import Learner
from kfsl.learners.maml import MAML


def learner(side: int, filters: int, **arguments) -> MAML:
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=(side, side, 1), filters=filters, num_pools=2)
    return MAML(backbone, ways=2, inner_rate=0.1, **arguments)


def trained(strategy: tf.distribute.Strategy) -> tuple[np.ndarray, np.ndarray]:
    """Weights before and after one step on four tasks."""
    episode, labels = EpisodeSpec(2, 1, 2, (8, 8, 1)).random_episode(meta_batch=4)
    with strategy.scope():
        maml = learner(8, 4, steps=2)
        maml.compile(keras.optimizers.SGD(0.5))
    before = np.concatenate([w.numpy().ravel() for w in maml.trainable_weights])
    # Batches of four episodes, which the strategy shares out.
    data = tf.data.Dataset.from_tensor_slices((episode, labels)).batch(4, drop_remainder=True)
    maml.fit(data, verbose=0, shuffle=False)
    return before, np.concatenate([w.numpy().ravel() for w in maml.trainable_weights])


def replicas() -> dict[str, float]:
    """How far one step moves the weights, and how far two replicas are from one device."""
    (device,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    before, alone = trained(tf.distribute.get_strategy())
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    assert strategy.num_replicas_in_sync == 2
    _, shared = trained(strategy)
    return {
        "moved": float(np.max(np.abs(alone - before))),
        "difference": float(np.max(np.abs(shared - alone))),
    }


def memory() -> dict[str, int]:
    """Peak resident memory, in bytes, after training steps on more and more tasks.

    The peak never falls, so the order counts: few tasks, many, then many under a single tape.
    """
    peaks = {"few": after_step(2), "many": after_step(12)}
    return {**peaks, "many_under_one_tape": after_step(12, one_tape=True)}


def after_step(tasks: int, one_tape: bool = False) -> int:
    # Large maps and few operations: memory without much time.
    images = keras.Input((96, 96, 1))
    maps = keras.layers.Conv2D(16, 3, activation="relu")(images)
    maps = keras.layers.GlobalAveragePooling2D()(maps)
    maml = MAML(keras.Model(images, maps), ways=2, steps=1)
    maml.compile(keras.optimizers.SGD(0.1))
    if one_tape:
        maml.loss_and_gradients = lambda e, y: Learner.loss_and_gradients(maml, e, y)
    episode, labels = EpisodeSpec(2, 10, 10, (96, 96, 1)).random_episode(meta_batch=tasks)
    maml.train_on_batch(episode, labels)
    return peak_memory()


def long_loop() -> list[float]:
    """Losses of two steps through a loop that is not unrolled, of large maps, graphs rewritten."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    backbone = Conv4(image_shape=(84, 84, 1), filters=8)
    maml = MAML(backbone, ways=2, inner_rate=0.01, steps=MOST_UNROLLED + 1)
    maml.compile("sgd")
    episode, labels = EpisodeSpec(2, 50, 2, (84, 84, 1)).random_episode()
    logs = [maml.train_on_batch(episode, labels, return_dict=True) for _ in range(2)]
    return [float(each["loss"]) for each in logs]


if __name__ == "__main__":
    commands = {"replicas": replicas, "memory": memory, "long_loop": long_loop}
    print(json.dumps(commands[sys.argv[1]]()))
