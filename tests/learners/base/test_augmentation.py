"""Augmentation of a metric learner: in training alone, and kept with it."""

import keras
import numpy as np
import pytest

from kfsl.episodes import EpisodeSpec
from kfsl.layers.shift_and_flip import ShiftAndFlip
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support.backbones import two_blocks

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(16, 16, 1))


def make(augmentation):
    keras.utils.set_random_seed(0)
    backbone = two_blocks((16, 16, 1), filters=4)
    return PrototypicalNetwork(backbone, augmentation=augmentation)


class Inverted(keras.layers.Layer):
    """An augmentation without chance."""

    def call(self, images):
        return 255 - images


@pytest.fixture
def episode():
    return SPEC.random_episode()[0]


def test_only_training_sees_it(episode):
    plain, augmented = make(None), make(Inverted())
    inverted = {
        key: 255 - value if key.endswith("_images") else value for key, value in episode.items()
    }
    for training, other in ((False, episode), (True, inverted)):
        np.testing.assert_allclose(
            augmented(episode, training=training)["logits"],
            plain(other, training=training)["logits"],
            rtol=1e-4,
            atol=1e-5,
        )


def test_it_draws_anew_in_each_step_and_is_saved(episode, tmp_path):
    learner = make(ShiftAndFlip(4, seed=1))
    images = episode["query_images"]
    first, second = (np.asarray(learner.embed(images, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    learner.compile(keras.optimizers.Adam(1e-3))
    logs = learner.train_on_batch(*SPEC.random_episode(), return_dict=True)
    assert np.isfinite(logs["loss"])
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert loaded.augmentation.get_config() == learner.augmentation.get_config()
    # What it draws from is among the variables that a checkpoint holds.
    states = [v for v in learner.variables if "seed_generator_state" in v.path]
    assert len(states) == 2
    values = [state.numpy() for state in states]
    again = np.asarray(learner.embed(images, training=True))
    for state, value in zip(states, values, strict=True):
        assert np.any(state.numpy() != value)
        state.assign(value)
    np.testing.assert_array_equal(learner.embed(images, training=True), again)
