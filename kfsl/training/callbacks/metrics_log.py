"""Writes one line of JSON an epoch."""

import keras

from kfsl.runs.run_directory import RunDirectory


class MetricsLog(keras.callbacks.Callback):
    """Appends each epoch's logs, with its step, to the run's `metrics.jsonl`.

    Args:
        run: `RunDirectory`.
        steps_per_epoch: int.
    """

    def __init__(self, run: RunDirectory, steps_per_epoch: int) -> None:
        super().__init__()
        self.run = run
        self.steps_per_epoch = steps_per_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        step = (epoch + 1) * self.steps_per_epoch
        self.run.append_metrics({"step": step, "epoch": epoch + 1, **values})
