"""Which maps a convolution is found behind."""

import pytest
import tensorflow as tf

from kfsl.layers.convolution_before import convolution_before


@pytest.mark.parametrize(
    "maps",
    [
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "SAME", dilations=2),
        lambda images, kernel: tf.nn.conv2d(tf.repeat(images, 2, -1), kernel, 1, "SAME"),
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, [[0, 0], [2, 0], [0, 2], [0, 0]]),
        lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "SAME") + tf.ones((2, 6, 6, 8)),
        lambda images, kernel: tf.nn.conv2d(images, kernel[..., :6], 1, "SAME") + tf.ones((6, 1)),
        lambda images, kernel: tf.nn.conv2d(images, kernel[..., :1], 1, "SAME") + tf.ones(8),
        lambda images, kernel: tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME")),
        lambda images, kernel: images,
    ],
    ids=[
        "dilated",
        "groups",
        "explicit padding",
        "sum of maps",
        "rows",
        "one filter",
        "activation",
        "images",
    ],
)
def test_other_maps_come_from_none(maps):
    with tf.Graph().as_default():
        images, kernel = tf.ones((2, 6, 6, 2)), tf.ones((3, 3, 2, 8))
        assert convolution_before(maps(images, kernel)) is None
        assert convolution_before(tf.nn.conv2d(images, kernel, 1, "SAME")) is not None


def test_images_of_unknown_size_come_from_none():
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder("float32", (2, None, 6, 2))
        assert convolution_before(tf.nn.conv2d(images, tf.ones((3, 3, 2, 8)), 1, "SAME")) is None
