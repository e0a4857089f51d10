"""Pixels that a network prepares itself, and whoever calls its layers."""

import keras
import numpy as np
import pytest

from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.episodes import EpisodeSpec
from kfsl.layers.raw_pixels import RawPixels
from kfsl.learners import (
    MAML,
    CrossModulationNetwork,
    ModulatedPrototypicalNetwork,
    MultimodalMAML,
    PrototypicalNetwork,
)
from kfsl.learners.base.given_layers import takes_pixels
from kfsl.learners.base.settings import settings_fingerprint
from kfsl.networks import exact
from tests.support.backbones import two_blocks

SCALING = {"scale": 1 / 255, "offset": 0.0}


def pretrained(**arguments):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Conv2D(4, 3, name="last"),
    ]
    network = keras.Sequential(layers)
    return PretrainedBackbone(network, image_shape=(8, 8, 1), scaling=SCALING, **arguments)


def test_nothing_changes():
    layer = RawPixels.from_config(RawPixels(dtype="mixed_float16").get_config())
    floats = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype("float32")
    for pixels in (floats, floats.astype("uint8"), np.zeros_like(floats)):
        given = layer(pixels)
        assert given.dtype == pixels.dtype
        np.testing.assert_array_equal(given, pixels)
    for scaled in (floats / 255, floats / 60 - 2):
        with pytest.raises(ValueError, match="they seem to be scaled already"):
            layer(scaled)


LEARNERS = {
    "frozen": lambda: MAML(pretrained(), ways=3, first_order=True),
    "exact": lambda: MAML(exact(pretrained()), ways=3),
    "modulated": lambda: ModulatedPrototypicalNetwork(
        pretrained(pooling=None), pretrained(pooling=None), ways=3, embedding_size=4
    ),
    "cross_modulated": lambda: CrossModulationNetwork(pretrained(pooling=None), modulated=["conv"]),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_pixels_are_scaled_once_however_the_layers_are_called(make):
    learner = make()
    episode, _ = EpisodeSpec(3, 1, 2, (8, 8, 1)).random_episode()
    assert isinstance(learner.preprocessing, RawPixels)
    logits = learner(episode)["logits"]
    assert np.ptp(logits) > 1e-3
    scaled = {
        name: value / np.float32(255) if name.endswith("images") else value
        for name, value in episode.items()
    }
    with pytest.raises(ValueError, match="they seem to be scaled already"):
        learner(scaled)


@pytest.mark.parametrize("name", ["frozen", "cross_modulated"])
def test_frozen_nothing_is_dropped_however_the_layers_are_called(name):
    learner = LEARNERS[name]()
    episode, _ = EpisodeSpec(3, 1, 2, (8, 8, 1)).random_episode()
    first, second = (learner(episode, training=True)["logits"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("learner", [ModulatedPrototypicalNetwork, MultimodalMAML])
@pytest.mark.parametrize("first", ["backbone", "encoder"])
def test_two_networks_that_take_different_pixels_are_refused(first, learner):
    networks = [exact(pretrained(pooling=None)), two_blocks((8, 8, 1), filters=4)]
    if first == "encoder":
        networks.reverse()
    with pytest.raises(ValueError, match="one of them takes raw pixels"):
        learner(*networks, ways=3, embedding_size=4)
    given = keras.layers.Rescaling(1.0)
    learner(*networks, ways=3, embedding_size=4, preprocessing=given)


def test_a_network_with_such_a_one_inside_gets_floats():
    images = keras.Input((8, 8, 1))
    network = keras.Model(images, pretrained()(keras.layers.Rescaling(255.0)(images)))
    assert takes_pixels(exact(pretrained()))
    assert not takes_pixels(network)
    assert not takes_pixels(None)


def test_what_was_calibrated_with_identity_holds():
    plain = PrototypicalNetwork(pretrained(), name="one")
    before = PrototypicalNetwork(pretrained(), preprocessing=keras.layers.Identity(), name="two")
    assert settings_fingerprint(plain) == settings_fingerprint(before)
    other = PrototypicalNetwork(pretrained(), preprocessing=keras.layers.Rescaling(1.0))
    assert settings_fingerprint(plain) != settings_fingerprint(other)
