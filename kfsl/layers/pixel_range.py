"""Pixels that were scaled before, where raw ones are meant."""

from typing import Any

import keras
import tensorflow as tf

#: Pixels of so few levels cannot be told from scaled ones.
FEWEST_LEVELS = 16
#: Floats below 0 that stay below this part of white are standardised: interpolation overshoots
#: black too, but of images that have light somewhere.
STANDARDISED = 1 / 8


def check_pixel_range(images: Any, scale: float) -> Any:
    """Refuses floats that seem to be scaled to 0..1, or standardised, already.

    Scaled once more they are nearly black, all of them, and what comes out of a learner looks
    like numbers. Integers are always taken, and so are black images.

    Args:
        images: tensor or array, pixels.
        scale: float. The factor that brings the pixels that are meant to 0..1.

    Returns:
        The images; in a graph, where no number can be read yet, they look when it runs.

    Raises:
        ValueError: if they are scaled, where their numbers can be read; in a graph
            `tf.errors.InvalidArgumentError` when it runs.
    """
    if isinstance(images, keras.KerasTensor) or not scale * FEWEST_LEVELS <= 1:
        return images
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype)):
        return images
    images = tf.convert_to_tensor(images)
    white = 1 / scale
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    unit = (high <= 1) & ((high > 0) | (low < 0))
    standardised = (low < 0) & (tf.cast(high, "float32") < white * STANDARDISED)
    expected = f"Pixels from 0 to {white:g} are expected"
    remedy = (
        "they seem to be scaled already. Give the raw pixels, best as uint8, and do not divide "
        "them: the model does. For pixels from 0 to 1 make it with PixelNormalization(scale=1)."
    )
    if tf.executing_eagerly():
        if unit | standardised:
            raise ValueError(
                f"{expected}; received {images.dtype.name} from {float(low):.3g} to "
                f"{float(high):.3g}: {remedy}"
            )
        return images
    told = [f"{expected}; received floats: {remedy} They go from and to", low, high]
    with tf.control_dependencies([tf.debugging.Assert(~(unit | standardised), told)]):
        return tf.identity(images)
