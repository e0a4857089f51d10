"""Ends an epoch in all workers alike."""

import keras

from kfsl.distribution import strategy


class StopTogether(keras.callbacks.Callback):
    """Waits for all workers at the end of an epoch, and stops them all if one would stop.

    It must be the last: when a worker goes on, what was to be written of the epoch is.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch, logs
        self.model.stop_training = strategy.any_worker(bool(self.model.stop_training))
