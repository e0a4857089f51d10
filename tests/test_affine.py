"""Affine transforms of images against NumPy."""

import math

import numpy as np
import tensorflow as tf

from kfsl.affine import random_affines, transformed

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 7, 7, 2), dtype="uint8")


def moved(angle=0.0, scale=1.0, right=0.0, down=0.0, image=IMAGE):
    return transformed(image, tf.constant([[angle, scale, right, down]])).numpy()


def test_quarter_turns_shifts_and_nothing():
    np.testing.assert_array_equal(moved(), IMAGE)
    for turns in (1, 2, 3):
        np.testing.assert_array_equal(
            moved(angle=turns * math.pi / 2), np.rot90(IMAGE, turns, axes=(1, 2))
        )
    shifted = moved(right=2 / 7, down=1 / 7)
    np.testing.assert_array_equal(shifted[:, 1:, 2:], IMAGE[:, :-1, :-2])
    # What comes in from outside is white paper.
    assert (shifted[:, :1] == 255).all()
    assert (shifted[:, :, :2] == 255).all()


def test_doubling_samples_half_way():
    doubled = moved(scale=2.0)
    np.testing.assert_array_equal(doubled[0, 1::2, 1::2], IMAGE[0, 2:5, 2:5])
    between = (IMAGE[0, 2:5, 2:4].astype(float) + IMAGE[0, 2:5, 3:5]) / 2
    np.testing.assert_allclose(doubled[0, 1::2, 2:5:2], between, atol=0.5)


def test_each_image_has_its_own():
    images = np.stack([IMAGE, IMAGE])
    affines = tf.constant([[[0.0, 1.0, 0.0, 0.0]], [[math.pi, 1.0, 0.0, 0.0]]])
    both = transformed(images, affines).numpy()
    assert both.shape == images.shape
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[0], IMAGE)
    np.testing.assert_array_equal(both[1], IMAGE[:, ::-1, ::-1])


def test_draws_fill_their_ranges_and_repeat():
    draws = random_affines(tf.constant([1, 2], tf.int64), 2000).numpy()
    low, high = [0.0, 0.8, -0.2, -0.2], [2 * math.pi, 1.2, 0.2, 0.2]
    assert (draws >= low).all()
    assert (draws < high).all()
    np.testing.assert_allclose(draws.min(axis=0), low, atol=0.02)
    np.testing.assert_allclose(draws.max(axis=0), high, atol=0.02)
    np.testing.assert_array_equal(draws, random_affines(tf.constant([1, 2], tf.int64), 2000))
