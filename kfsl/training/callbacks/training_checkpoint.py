"""Saves everything that a resumed run needs to end with the same bits."""

import math
import os
import re

import keras
import tensorflow as tf

from kfsl.distribution import strategy
from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.training.callbacks.best_learner import BestLearner

#: What reading a file that is cut or damaged raises.
DAMAGE = (IndexError, UnicodeDecodeError, tf.errors.OpError)


class TrainingCheckpoint(keras.callbacks.Callback):
    """Saves all variables, the epoch, the best score and the patience at each epoch's end.

    `save_weights` and `tf.train.Checkpoint(model=model)` leave out the state of Dropout's
    generator; here every variable of model and optimiser is saved by value. It must be the last
    callback: what others wrote for an epoch is written again if the process dies in between.

    Args:
        directory: str.
        learner: `keras.Model`, compiled, its optimiser built.
        best: `BestLearner` of the same run.
        keep: int. Checkpoints to keep.
        writes: bool. Whether this process saves; it restores in any case.
    """

    def __init__(
        self,
        directory: str,
        learner: keras.Model,
        best: BestLearner,
        keep: int = 2,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self._writes = writes
        self.best = best
        self.epochs = tf.Variable(0, dtype="int64")
        self.score = tf.Variable(-math.inf, dtype="float64")
        self.waited = tf.Variable(0, dtype="int64")
        variables = [*learner.variables, *(v for o in learner.optimizers for v in o.variables)]
        checkpoint = tf.train.Checkpoint(
            variables=[variable.value for variable in variables],
            epochs=self.epochs,
            score=self.score,
            waited=self.waited,
        )
        self._directory = directory
        self._restored = latest_checkpoint(directory)
        self._manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=keep)

    @property
    def saved(self) -> int:
        """Epochs that the last checkpoint holds."""
        path = latest_checkpoint(self._directory)
        return 0 if path is None else _number(path)

    def moved_on(self) -> bool:
        """Whether there is another checkpoint by now than the one that `restore` reads."""
        return latest_checkpoint(self._directory) != self._restored

    def restore(self) -> int | None:
        """Restores the latest checkpoint.

        Returns:
            Epochs already trained; None if there is no checkpoint.

        Raises:
            ValueError: if the checkpoint is damaged, or of another learner.
        """
        path = self._restored
        if path is None:
            return None
        try:
            with strategy.alone():
                self._manager.checkpoint.restore(path).assert_consumed()
        except (*DAMAGE, AssertionError, ValueError) as error:
            if _whole(path):
                raise ValueError(
                    f"{path} does not fit this learner and its optimiser: it holds other "
                    "variables. Name another --run_dir."
                ) from error
            raise ValueError(
                f"{path} is cut short or damaged. Delete {path}.* to go on from the checkpoint "
                "before it, or name another --run_dir."
            ) from error
        self.best.best = float(self.score.numpy())
        self.best.waited = int(self.waited.numpy())
        return int(self.epochs.numpy())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        if weight_not_finite(self.model) or not self._writes:
            return
        self.epochs.assign(epoch + 1)
        self.score.assign(self.best.best)
        self.waited.assign(self.best.waited)
        try:
            with strategy.alone():
                self._manager.save(checkpoint_number=epoch + 1)
        except BaseException:
            self._remove_part(epoch + 1)
            raise

    def _remove_part(self, number: int) -> None:
        path = os.path.join(self._directory, f"ckpt-{number}")
        if path != tf.train.latest_checkpoint(self._directory):
            for part in tf.io.gfile.glob([f"{path}.*", f"{path}_temp*"]):
                tf.io.gfile.rmtree(part) if os.path.isdir(part) else os.remove(part)


def latest_checkpoint(directory: str) -> str | None:
    """The checkpoint to go on from: the one that the index names, or the newest that is whole.

    Without an index the newest may be one that was being written when the process died.

    Args:
        directory: str. It need not exist.

    Returns:
        str or None. A path without its endings.
    """
    named = tf.train.latest_checkpoint(directory)
    if named is not None:
        return named
    if not os.path.isdir(directory):
        return None
    parts = [name for name in os.listdir(directory) if re.fullmatch(r"ckpt-\d+\.index", name)]
    paths = [os.path.join(directory, name.removesuffix(".index")) for name in parts]
    return next((path for path in sorted(paths, key=_number, reverse=True) if _whole(path)), None)


def _whole(path: str) -> bool:
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (*DAMAGE, ValueError):
        return False
    return True


def _number(path: str) -> int:
    return int(path.rpartition("-")[2])
