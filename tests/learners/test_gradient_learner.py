"""What all learners that adapt by gradient steps do with a backbone."""

import itertools

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.layers.random_affine import RandomAffine
from kfsl.learners.cavia import CAVIA
from kfsl.learners.maml import MAML

SHAPE = (8, 8, 1)


def stack():
    return [
        keras.layers.Conv2D(2, 3, activation="relu", name="first"),
        keras.layers.Conv2D(3, 3, name="last"),
    ]


def functional():
    images = x = keras.Input(SHAPE)
    for layer in stack():
        x = layer(x)
    return keras.Model(images, x)


LEARNERS = {
    "MAML": lambda backbone: MAML(backbone, ways=2, steps=1),
    "CAVIA": lambda backbone: CAVIA(backbone, ways=2, steps=1, modulated="last"),
    "CAVIA in the middle": lambda backbone: CAVIA(backbone, ways=2, steps=1, modulated="first"),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=list(LEARNERS))
def test_a_sequential_backbone_is_like_a_functional_one(make, tmp_path):
    learner = make(keras.Sequential([keras.Input(SHAPE), *stack()]))
    expected = make(functional())
    expected.network.set_weights(learner.network.get_weights())
    episode, _ = EpisodeSpec(2, 1, 2, SHAPE).random_episode(meta_batch=1)
    logits = learner(episode)["logits"]
    np.testing.assert_allclose(logits, expected(episode)["logits"], atol=1e-6)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert type(loaded.backbone) is keras.Sequential
    np.testing.assert_array_equal(loaded(episode)["logits"], logits)


def test_backbones_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def call(self, images):
            return images

    model = Subclassed(name="own")
    model(np.zeros((1, *SHAPE)))
    for backbone in (model, keras.Sequential(stack(), name="own")):
        with pytest.raises(ValueError, match=r"backbone 'own' .* begins with keras\.Input"):
            MAML(backbone, ways=2)


def test_augmentation_transforms_the_images_of_each_step_anew():
    seen = []

    class Recorded(RandomAffine):
        def call(self, images, seed):
            moved = super().call(images, seed)
            seen.append(moved.numpy())
            return moved

    spec = EpisodeSpec(2, 2, 1, (8, 8, 1))
    episode, _ = spec.random_episode()
    backbone = Conv4((8, 8, 1), filters=4, num_pools=2)
    arguments = {"ways": 2, "steps": 3, "bn_policy": "support"}
    learner = MAML(backbone, augmentation=Recorded(), **arguments)
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    # Three steps, and once more for the moments.
    assert len(seen) == 4
    assert all(np.max(np.abs(a - b)) > 0.1 for a, b in itertools.combinations(seen, 2))
    again = learner.adapt(episode["support_images"], episode["support_labels"])
    for key, value in state.items():
        np.testing.assert_array_equal(again[key], value)
    learner = MAML(backbone, augmentation=RandomAffine(fill=0.5), **arguments)
    copy = MAML.from_config(learner.get_config())
    assert copy.augmentation.fill == 0.5
