"""Random transforms from a seed."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.affine import random_affines, transformed
from kfsl.layers.random_affine import RandomAffine

IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype("float32")
SEED = tf.constant([3, 4], tf.int64)


def test_the_transforms_of_the_seed():
    expected = transformed(IMAGES, random_affines(SEED, 3), fill=1.0)
    np.testing.assert_array_equal(RandomAffine()(IMAGES, SEED), expected)
    assert np.max(np.abs(RandomAffine()(IMAGES, SEED + 1) - expected)) > 0.1


def test_nothing_and_what_lies_outside():
    still = RandomAffine(degrees=0.0, translation=0.0, scale=(1.0, 1.0))
    np.testing.assert_allclose(still(IMAGES, SEED), IMAGES, atol=1e-6)
    small = RandomAffine(degrees=0.0, translation=0.0, scale=(0.5, 0.5), fill=0.25)
    np.testing.assert_array_equal(small(IMAGES, SEED)[:, 0], np.full((3, 8, 1), 0.25))


def test_config_round_trip_and_what_is_refused():
    layer = RandomAffine(degrees=90.0, translation=0.1, scale=(0.9, 1.0), fill=0.0)
    copy = RandomAffine.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(IMAGES, SEED), layer(IMAGES, SEED))
    with pytest.raises(ValueError, match="scale must be two positive"):
        RandomAffine(scale=(1.2, 0.8))
