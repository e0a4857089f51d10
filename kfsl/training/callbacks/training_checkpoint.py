"""Saves everything that a resumed run needs to end with the same bits."""

import math

import keras
import tensorflow as tf

from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.finite_weights import weights_are_finite


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
    """

    def __init__(
        self, directory: str, learner: keras.Model, best: BestLearner, keep: int = 2
    ) -> None:
        super().__init__()
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
        self._manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=keep)

    def restore(self) -> int:
        """Restores the latest checkpoint, if there is one.

        Returns:
            Epochs already trained.

        Raises:
            ValueError: if the checkpoint is of another learner.
        """
        if self._manager.latest_checkpoint is None:
            return 0
        try:
            status = self._manager.checkpoint.restore(self._manager.latest_checkpoint)
            status.assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"{self._manager.latest_checkpoint} does not fit this learner and its optimiser: "
                "it holds other variables. Name another --run_dir."
            ) from error
        self.best.best = float(self.score.numpy())
        self.best.waited = int(self.waited.numpy())
        return int(self.epochs.numpy())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        if not weights_are_finite(self.model):
            return
        self.epochs.assign(epoch + 1)
        self.score.assign(self.best.best)
        self.waited.assign(self.best.waited)
        self._manager.save(checkpoint_number=epoch + 1)
