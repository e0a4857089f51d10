"""Images as functions: from places of pixels to their colours."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS


def completion(
    images: tf.Tensor, draw: dict[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The tasks of images of which some pixels are given.

    Args:
        images: uint8 tensor, `[N, H, W, C]`.
        draw: dict, from `pixel_episode`, each tensor with an axis `B` in front.

    Returns:
        The episodes, float32: `support_inputs` `[B, points, 2]`, `support_targets`
        `[B, points, C]`, colours in 0..1, and `query_inputs` `[B, H*W, 2]`; and the colours of
        all pixels, `[B, H*W, C]`.
    """
    points = draw["support_points"]
    _, height, width, channels = images.shape
    pixels = tf.cast(tf.gather(images, draw["image_indices"][:, 0]), tf.float32) / 255.0
    pixels = tf.reshape(pixels, (-1, height * width, channels))
    places = tf.constant(places_of(height, width))
    episode = {
        SUPPORT_INPUTS: tf.gather(places, points),
        SUPPORT_TARGETS: tf.gather(pixels, points, batch_dims=1),
        QUERY_INPUTS: tf.tile(places[None], (tf.shape(points)[0], 1, 1)),
    }
    if points.shape[0] is not None:
        pixels = tf.ensure_shape(pixels, (points.shape[0], height * width, channels))
        episode[QUERY_INPUTS] = tf.ensure_shape(
            episode[QUERY_INPUTS], (points.shape[0], height * width, 2)
        )
    return episode, pixels


def places_of(height: int, width: int) -> np.ndarray:
    """Row and column of each pixel as shares of height and width, row by row.

    Args:
        height: int.
        width: int.

    Returns:
        float32 array, `[height * width, 2]`.

    Example:
    ```python
    from data_pipelines.completion import places_of

    assert places_of(2, 2).tolist() == [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]]
    ```
    """
    rows, columns = np.mgrid[:height, :width].astype("float32")
    return np.stack([rows / np.float32(height), columns / np.float32(width)], -1).reshape(-1, 2)
