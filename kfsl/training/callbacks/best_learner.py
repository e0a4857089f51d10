"""Keeps the best learner, and stops when it no longer improves."""

import math
import os

import keras

from kfsl.distribution import strategy
from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.training.callbacks.whole_file import save_whole


class BestLearner(keras.callbacks.Callback):
    """Saves the learner at each epoch that validates best so far; may stop after `patience`.

    Unlike Keras's ModelCheckpoint and EarlyStopping its state can be saved, so a resumed run
    neither forgets the best score nor starts to wait anew. Without validation the latest
    learner is the best one; with it, epochs that are not validated count for nothing.

    Args:
        path: str. A `.keras` file; replaced as a whole.
        monitor: str. Key of the epoch's logs.
        larger_is_better: bool. Whether more of it is better, as of accuracy; else as of an error.
        patience: int or None. Validations without improvement after which training stops.
        validated: bool. Whether there is any validation.
        writes: bool. Whether this process saves what it judges.
    """

    def __init__(
        self,
        path: str,
        monitor: str = "val_accuracy",
        larger_is_better: bool = True,
        patience: int | None = None,
        validated: bool = True,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.path = path
        self.monitor = monitor
        self.sign = 1.0 if larger_is_better else -1.0
        self.patience = patience
        self.validated = validated
        self.writes = writes
        self.best = -math.inf
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch
        score = (logs or {}).get(self.monitor)
        if weight_not_finite(self.model):
            self.model.stop_training = True
        elif score is not None:
            self._judge(self.sign * float(score))
        elif not self.validated or not os.path.exists(self.path):
            self._save()

    def _judge(self, score: float) -> None:
        # A best learner that is gone is replaced by the best that there is.
        if score > self.best or not os.path.exists(self.path):
            self.best, self.waited = score, 0
            self._save()
        else:
            self.waited += 1
        if self.exhausted:
            self.model.stop_training = True

    def _save(self) -> None:
        if self.writes:
            with strategy.alone():
                save_whole(self.model, self.path)
