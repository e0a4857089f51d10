"""Trains a small learner with dropout; run as a process, so that a test can kill it.

Called as `python training_process.py STORE RUN_DIR EPOCHS [DEATH]`, where DEATH is
`--die-in-epoch=N` or `--die-after-epoch=N`.
"""

import os
import re
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import process as runtime
from kfsl.training import train as training
from tests.support import letters

STEPS = 6


class Die(keras.callbacks.Callback):
    """Kills the process, as a power cut would: in the middle of an epoch, or before it is saved."""

    def __init__(self, when: str, epoch: int) -> None:
        super().__init__()
        self.when = when
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.armed = epoch + 1 == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.armed and self.when == "in" and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch, logs=None):
        if self.armed:
            os.kill(os.getpid(), signal.SIGKILL)


def network() -> PrototypicalNetwork:
    conv4 = Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2)
    outputs = keras.layers.Dropout(0.3)(conv4.output)
    return PrototypicalNetwork(keras.Model(conv4.input, outputs))


def main(store: str, run_dir: str, epochs: int, death: str = "") -> None:
    runtime.set_up(seed=3)
    run = RunDirectory(run_dir)
    run.start("")
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, epochs * STEPS)
    match = re.fullmatch(r"--die-(in|after)-epoch=(\d+)", death)
    callbacks = [Die(match[1], int(match[2]))] if match else []
    training.train(
        letters.experiment(store, learner=network()),
        run,
        optimizer=keras.optimizers.Adam(schedule),
        epochs=epochs,
        steps_per_epoch=STEPS,
        meta_batch=2,
        validation_episodes=8,
        patience=3,
        callbacks=callbacks,
    ).fit()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
