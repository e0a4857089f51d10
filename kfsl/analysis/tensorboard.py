"""Figures of analyses among TensorBoard's images."""

from matplotlib.figure import Figure

from kfsl.command_line import command


def show_in_tensorboard(folder: str, name: str, figure: Figure) -> None:
    """Writes a figure as an image; imports TensorFlow.

    Args:
        folder: str. In TensorBoard's log folder; made if it is not there.
        name: str. Of the image.
        figure: matplotlib `Figure`.
    """
    with command.quiet_start():
        import tensorflow as tf

        from kfsl.training.callbacks.figure_summary import figure_to_rgb

    writer = tf.summary.create_file_writer(folder)
    with writer.as_default(step=0):
        tf.summary.image(name, figure_to_rgb(figure)[None])
    writer.close()
