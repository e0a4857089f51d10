"""Keeps the best learner, and stops when it no longer improves."""

import math
import os

import keras


class BestLearner(keras.callbacks.Callback):
    """Saves the learner at each epoch that validates best so far; may stop after `patience`.

    Unlike Keras's ModelCheckpoint and EarlyStopping its state can be saved, so a resumed run
    neither forgets the best score nor starts to wait anew. Without validation the latest
    learner is the best one.

    Args:
        path: str. A `.keras` file; replaced as a whole.
        monitor: str. Key of the epoch's logs; larger is better.
        patience: int or None. Epochs without improvement after which training stops.
    """

    def __init__(
        self, path: str, monitor: str = "val_accuracy", patience: int | None = None
    ) -> None:
        super().__init__()
        self.path = path
        self.monitor = monitor
        self.patience = patience
        self.best = -math.inf
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            return
        score = logs.get(self.monitor)
        if score is None or score > self.best:
            self.best = self.best if score is None else float(score)
            self.waited = 0
            self._save()
        else:
            self.waited += 1
        if self.exhausted:
            self.model.stop_training = True

    def _save(self) -> None:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        temporary = f"{self.path.removesuffix('.keras')}.tmp{os.getpid()}.keras"
        self.model.save(temporary, include_optimizer=False)
        os.replace(temporary, self.path)
