"""What TensorBoard and metrics.jsonl show besides losses and accuracy."""

import time

import keras
from keras import ops


class TrainingSignals(keras.callbacks.Callback):
    """Adds learning rate, weight norm, seconds and steps per second to each epoch's logs.

    It must come before the callbacks that write the logs. `seconds` are those of the training
    steps; where an epoch was validated, `validation_seconds` are told besides.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch, logs
        self._steps = 0
        self._ended: float | None = None
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        del batch, logs
        self._steps += 1

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self._ended = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch
        if logs is None:
            return
        now = time.perf_counter()
        seconds = (self._ended or now) - self._started
        if self._ended is not None:
            logs["validation_seconds"] = now - self._ended
        squares = [ops.sum(ops.square(weight)) for weight in self.model.trainable_weights]
        logs["weight_norm"] = float(ops.sqrt(sum(squares)))
        logs["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = seconds
        logs["steps_per_second"] = self._steps / seconds
