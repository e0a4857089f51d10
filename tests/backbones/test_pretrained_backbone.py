"""Networks that were trained elsewhere, as backbones."""

import json

import keras
import numpy as np
import pytest

from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.episodes import EpisodeSpec
from kfsl.learners.implanting import Implanting
from kfsl.learners.prototypical_network import PrototypicalNetwork

SCALING = {"scale": 1 / 255, "offset": 0.0}


def network(name="small"):
    """A network as `keras.applications` makes them: Keras's normalisation, and dropout."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(6, 3, name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Activation("relu", name="activation"),
            keras.layers.Dropout(0.5),
        ],
        name=name,
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 10, 10, 3), "uint8")


def test_features_are_those_of_the_prepared_network(images):
    inner = network()
    backbone = PretrainedBackbone(inner, scaling=SCALING)
    expected = np.mean(inner(images / np.float32(255), training=False), axis=(1, 2))
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    maps = PretrainedBackbone(network(), scaling=SCALING, pooling=None)
    assert maps(images).shape == (4, 8, 8, 6)


def test_frozen_it_does_not_move_and_drops_nothing(images):
    backbone = PretrainedBackbone(network(), scaling=SCALING)
    before, features = backbone.get_weights(), backbone(images)
    np.testing.assert_array_equal(backbone(images, training=True), features)
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert backbone.trainable_weights == []
    assert len(backbone.weights) == 6


def test_frozen_layers_of_a_trained_network_stay_so(images):
    inner = network()
    inner.get_layer("bn").trainable = False
    backbone = PretrainedBackbone(inner, scaling=SCALING, trainable=True)
    assert [weight.name for weight in backbone.trainable_weights] == ["kernel", "bias"]
    copy = PretrainedBackbone.from_config(backbone.get_config())
    assert len(copy.trainable_weights) == 2
    # Frozen as a whole it was not meant: what is asked for is training.
    inner = network()
    inner.trainable = False
    assert len(PretrainedBackbone(inner, trainable=True).trainable_weights) == 4


def test_a_functional_network_drops_nothing_either(images):
    inputs = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(6, 3)(inputs)
    dropped = keras.layers.SpatialDropout2D(0.5, name="drop")(maps, training=True)
    inner = keras.Model(inputs, keras.Sequential([keras.layers.GaussianNoise(1.0)])(dropped))
    backbone = PretrainedBackbone(inner, scaling=SCALING)
    expected = np.mean(keras.Model(inputs, maps)(images / np.float32(255)), axis=(1, 2))
    np.testing.assert_allclose(backbone(images, training=True), expected, atol=1e-5)
    # Checkpoints of a training have its random state.
    assert len(backbone.variables) == len(inner.variables)
    copy = PretrainedBackbone.from_config({**backbone.get_config(), "trainable": True})
    assert isinstance(copy.get_layer("drop"), keras.layers.SpatialDropout2D)


def test_a_model_without_a_graph_may_lie_in_the_network(images):
    @keras.saving.register_keras_serializable(package="user")
    class Block(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.drop = keras.layers.Dropout(0.5)

        def call(self, inputs, training=None):
            return self.drop(inputs, training=training)

    inner = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(6, 3), Block()])
    backbone = PretrainedBackbone(inner, scaling=SCALING)
    np.testing.assert_array_equal(backbone(images, training=True), backbone(images))


def test_trained_it_learns(images):
    backbone = PretrainedBackbone(network(), scaling=SCALING, trainable=True)
    assert len(backbone.trainable_weights) == 4
    before = backbone.get_weights()
    assert not np.allclose(backbone(images, training=True), backbone(images))
    assert any((old != new).any() for old, new in zip(before, backbone.get_weights(), strict=True))


@pytest.mark.parametrize("trainable", [False, True])
def test_config_round_trip(images, trainable):
    backbone = PretrainedBackbone(
        network(), image_shape=(10, 10, 3), image_size=12, scaling=SCALING, trainable=trainable
    )
    config = json.dumps(backbone.get_config())
    copy = PretrainedBackbone.from_config(json.loads(config))
    assert json.dumps(copy.get_config()) == config
    assert len(copy.trainable_weights) == len(backbone.trainable_weights)
    copy.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(copy(images), backbone(images))


def test_a_learner_with_it_takes_raw_pixels(images, tmp_path):
    backbone = PretrainedBackbone(network(), image_shape=(28, 28, 1), scaling=SCALING)
    learner = PrototypicalNetwork(backbone)
    assert learner.trainable_weights == []
    grey = np.random.default_rng(1).integers(0, 256, (1, 4, 28, 28, 1), "uint8")
    embedded = learner.embed(grey)
    np.testing.assert_array_equal(embedded[0], backbone(grey[0]))
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    np.testing.assert_array_equal(loaded.embed(grey), embedded)


def test_keras_normalisation_that_trains_is_refused_for_episodes_moments():
    backbone = PretrainedBackbone(network(), scaling=SCALING, trainable=True)
    with pytest.raises(ValueError, match="knows nothing of episodes"):
        PrototypicalNetwork(backbone, bn_policy="batch")


def test_implants_find_its_layers():
    behind = [network(), keras.layers.Conv2D(5, 3, name="last")]
    whole = keras.Sequential([keras.Input((10, 10, 3)), *behind[0].layers, behind[1]])
    backbone = PretrainedBackbone(whole, image_shape=(10, 10, 3), scaling=SCALING, pooling=None)
    learner = Implanting(backbone, 4, after="activation", channels=2, updates=1)
    episode, _ = EpisodeSpec(3, 2, 2, (10, 10, 3)).random_episode()
    assert learner(episode)["logits"].shape == (1, 6, 3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(images, policy):
    exact = PretrainedBackbone(network(), scaling=SCALING)
    keras.config.set_dtype_policy(policy)
    try:
        half = PretrainedBackbone(network(), scaling=SCALING)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(exact.get_weights())
    assert half(images).dtype == policy.removeprefix("mixed_")
    found = keras.ops.cast(half(images), "float32")
    np.testing.assert_allclose(found, exact(images), atol=2e-2)


def test_floats_that_are_scaled_already_are_refused(images):
    backbone = PretrainedBackbone(network(), scaling=SCALING)
    with pytest.raises(ValueError, match="seem to be scaled already"):
        backbone(images / np.float32(255))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (keras.layers.Dense(2), "received Dense"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), r"inputs \[\(None, 4\)\]"),
    ],
)
def test_what_is_no_network_of_images_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        PretrainedBackbone(wrong)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="received 'least'"):
        PretrainedBackbone(network(), pooling="least")
