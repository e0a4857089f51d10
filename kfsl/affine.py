"""Random affine transforms of images, as pure functions of a seed."""

from __future__ import annotations

import math

import tensorflow as tf


def random_affines(
    seed: tf.Tensor,
    count: int,
    *,
    degrees: float = 360.0,
    translation: float = 0.2,
    scale: tuple[float, float] = (0.8, 1.2),
) -> tf.Tensor:
    """Draws a rotation, a scale and a translation for each of some images.

    Args:
        seed: int64 tensor, `[2]`.
        count: int. Images.
        degrees: float. Rotations are uniform from 0 to this.
        translation: float. Translations along each axis are uniform within plus and minus this
            fraction of the image's side.
        scale: pair of float. Scales are uniform between the two.

    Returns:
        float32 tensor, `[count, 4]`: angle in radians, scale, and the translation to the right
        and down as fractions of width and height.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.affine import random_affines

    affines = random_affines(tf.constant([0, 1], tf.int64), 5)
    assert affines.shape == (5, 4)
    ```
    """
    low = tf.constant([0.0, scale[0], -translation, -translation])
    high = tf.constant([math.radians(degrees), scale[1], translation, translation])
    draws = tf.random.stateless_uniform([count, 4], seed, alg="philox")
    return low + draws * (high - low)


def transformed(images: tf.Tensor, affines: tf.Tensor, fill: float = 255.0) -> tf.Tensor:
    """Rotates, scales and shifts images about their centres, bilinearly.

    Args:
        images: uint8 or float tensor, `[..., H, W, C]`.
        affines: float32 tensor, `[..., 4]`, from `random_affines`.
        fill: float. Value outside the image: 255 is white paper.

    Returns:
        Tensor of the images' shape and type.

    Example:
    ```python
    import math
    import numpy as np
    import tensorflow as tf
    from kfsl.affine import transformed

    image = np.arange(9, dtype="uint8").reshape(1, 3, 3, 1)
    quarter_turn = tf.constant([[math.pi / 2, 1.0, 0.0, 0.0]])
    assert (transformed(image, quarter_turn).numpy()[0] == np.rot90(image[0])).all()
    ```
    """
    images = tf.convert_to_tensor(images)
    shape = tf.shape(images)
    height, width = images.shape[-3], images.shape[-2]
    flat = tf.reshape(images, [-1, height, width, images.shape[-1]])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(flat, tf.float32),
        transforms=_output_to_input(tf.reshape(affines, [-1, 4]), height, width),
        output_shape=[height, width],
        fill_value=fill,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    moved = tf.round(moved) if images.dtype.is_integer else moved
    return tf.reshape(tf.cast(moved, images.dtype), shape)


def _output_to_input(affines: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """From places in the result to places in the image: `[n, 8]`, as TensorFlow's kernel asks."""
    angle, scale, right, down = tf.unstack(affines, axis=1)
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = middle_x + right * width, middle_y + down * height
    zeros = tf.zeros_like(angle)
    rows = [
        cosine, -sine, middle_x - cosine * from_x + sine * from_y,
        sine, cosine, middle_y - sine * from_x - cosine * from_y,
        zeros, zeros,
    ]  # fmt: skip
    return tf.stack(rows, axis=1)
