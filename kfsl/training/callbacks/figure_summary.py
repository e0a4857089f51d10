"""Shows a figure of the learner in TensorBoard while it learns."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class FigureSummary(keras.callbacks.Callback):
    """Draws a figure every few epochs and writes it as an image summary.

    Args:
        directory: str. A TensorBoard log folder.
        name: str. The image's name.
        draw: callable. Learner to `matplotlib.figure.Figure`.
        every: int. Epochs between two figures.
    """

    def __init__(
        self, directory: str, name: str, draw: Callable[[keras.Model], Figure], every: int = 5
    ) -> None:
        super().__init__()
        self.name = name
        self.draw = draw
        self.every = every
        self._writer = tf.summary.create_file_writer(directory)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        if epoch % self.every and epoch + 1 != self.params.get("epochs"):
            return
        image = figure_to_rgb(self.draw(self.model))
        with self._writer.as_default(step=epoch):
            tf.summary.image(self.name, image[None])
        self._writer.flush()


def figure_to_rgb(figure: Figure) -> np.ndarray:
    """Renders a figure to pixels, as TensorBoard takes them; needs no display.

    Args:
        figure: `matplotlib.figure.Figure`.

    Returns:
        uint8 array `[height, width, 3]`.

    Example:
    ```python
    from matplotlib.figure import Figure
    from kfsl.training.callbacks.figure_summary import figure_to_rgb

    assert figure_to_rgb(Figure(figsize=(2, 1), dpi=50)).shape == (50, 100, 3)
    ```
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
