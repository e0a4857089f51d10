"""SimpleShot, and what heads on a frozen network share."""

import keras
import numpy as np
import pytest

from kfsl.learners.simple_shot import SimpleShot
from tests.support.backbones import two_blocks
from tests.support.frozen_contract import FrozenLearnerContract


def make(image_shape=(None, None, 1), **arguments):
    return SimpleShot(two_blocks(image_shape, filters=8), **arguments)


class TestSimpleShot(FrozenLearnerContract):
    variants = (
        {},
        {"unit_norm": False, "center_images": 0, "scale": 100.0},
        {"pooling": "max", "scale": 1.0},
    )

    def make_learner(self, **arguments):
        return make(**arguments)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 10, 16, 16, 1), "uint8")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_it_is_the_papers_formula(images):
    """CL2N, equations 1 and 2, in NumPy."""
    learner = make(scale=3.0)
    learner.see_base_images(images)
    features = np.asarray(learner.embed(images[:1])).mean(axis=(2, 3))[0]
    every = np.asarray(learner.embed(images)).mean(axis=(2, 3)).reshape(-1, 8)
    vectors = unit(features - every.mean(axis=0))
    centroids = np.stack([vectors[:2].mean(0), vectors[2:4].mean(0)])
    expected = -3.0 * ((vectors[4:, None] - centroids) ** 2).sum(-1)
    state = learner.adapt(learner.embed(images[:1, :4]), np.array([[0, 0, 1, 1]]))
    logits = learner.infer(state, learner.embed(images[:1, 4:]))["logits"][0]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_centre_is_the_mean_of_all_images_whatever_the_batches(images):
    one, many = make(), make()
    many.set_weights(one.get_weights())
    one.see_base_images([images.reshape(30, 16, 16, 1)])
    many.see_base_images(iter(images))
    assert np.ptp(one.center) > 0
    np.testing.assert_allclose(one.center, many.center, atol=1e-6)
    assert one.base_images == 2000
    assert make(center_images=0).base_images == 0
    with pytest.raises(ValueError, match="received no image"):
        one.see_base_images([])


@pytest.mark.parametrize("normalization", ["exact", "stock"])
def test_the_backbone_is_frozen_to_the_bit(images, normalization):
    learner = SimpleShot(two_blocks((16, 16, 1), filters=8, normalization=normalization))
    assert learner.trainable_weights == []
    before = learner.backbone.get_weights()
    assert len(before) > 4
    learner.embed(images, training=True)
    for old, new in zip(before, learner.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_maps_are_flattened_where_that_is_asked(images):
    learner = make((16, 16, 1), pooling="flatten")
    assert learner.center.shape == (4 * 4 * 8,)
    state = learner.adapt(learner.embed(images[:1, :2]), np.array([[0, 1]]))
    assert state["centroids"].shape == (1, 2, 128)
    with pytest.raises(ValueError, match="cannot be flattened: give the backbone an image_shape"):
        make(pooling="flatten")


def test_vectors_need_no_pooling():
    vectors = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    assert SimpleShot(vectors).center.shape == (64,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scale": 0.0}, "`scale` must be a positive number; received 0.0"),
        ({"pooling": "least"}, "pooling"),
        ({"center_images": -1}, "center_images"),
        ({"bn_policy": "batch"}, "bn_policy"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)
