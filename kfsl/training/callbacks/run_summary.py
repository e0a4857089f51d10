"""Shows the configuration in TensorBoard: as text, and as hyper-parameters."""

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams


class RunSummary(keras.callbacks.Callback):
    """Writes the operative gin as text and the bindings as HParams, once a run.

    Args:
        directory: str. A TensorBoard log folder.
        operative: str. The operative configuration.
        parameters: dict of str to str, float, int or bool. What HParams compares runs by.
    """

    def __init__(
        self, directory: str, operative: str, parameters: dict[str, str | float | int | bool]
    ) -> None:
        super().__init__()
        self._writer = tf.summary.create_file_writer(directory)
        self._operative = operative
        self._parameters = parameters

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        del logs
        lines = (f"    {line}" for line in self._operative.splitlines())
        with self._writer.as_default(step=0):
            # Markdown shows lines indented by four spaces as they are.
            tf.summary.text("operative.gin", "\n".join(lines))
            hparams.hparams(self._parameters)
        self._writer.flush()
