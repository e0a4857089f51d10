"""Cross-modulation on backbones of other kinds, and those that it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.networks.insertion import segments
from tests.learners.test_cross_modulation_network import SHAPE, SPEC, make, one_episode
from tests.support.contract import generic
from tests.support.pair_reference import (
    matching_logits,
    modulated_maps,
    preprocessed,
    random_modulation,
)

OTHER_BACKBONES = {
    "ResNet12": (
        lambda: ResNet12(SHAPE, filters=(4, 4, 8, 8), bn_momentum=0.9),
        ("block2_pool", "block4_pool"),
    ),
    "pools first": (
        lambda: Conv4(SHAPE, filters=4, order="bn-pool-activation", pool_padding="same"),
        ("block2_bn", "block3_bn"),
    ),
    "layers side by side": (
        lambda: Conv4(SHAPE, filters=4, activation="tanh"),
        ("block3_bn", "block3_activation", "block3_pool"),
    ),
}


@pytest.mark.parametrize(
    ("make_backbone", "modulated"), OTHER_BACKBONES.values(), ids=OTHER_BACKBONES
)
def test_other_backbones_are_plain_pairs_too(make_backbone, modulated):
    keras.utils.set_random_seed(0)
    backbone = make_backbone()
    learner = random_modulation(generic(CrossModulationNetwork(backbone, modulated=modulated)))
    episode, _ = one_episode()
    supports, queries = (
        preprocessed(learner, episode[key][0]) for key in ("support_images", "query_images")
    )
    x = tf.tile(supports, [SPEC.query_size, 1, 1, 1])
    y = tf.repeat(queries, SPEC.support_size, axis=0)
    # Whole maps are modulated, where the network is cut and nowhere else.
    trunk, *rest = segments(backbone, modulated)
    x, y = trunk(x), trunk(y)
    for modulation, segment in zip(learner.modulations, rest, strict=True):
        x, y = modulated_maps(modulation, x, y), modulated_maps(modulation, y, x)
        x, y = (maps if segment is None else segment(maps) for maps in (x, y))
    shape = (SPEC.query_size, SPEC.support_size, -1)
    labels = episode["support_labels"][0]
    expected = matching_logits(tf.reshape(y, shape), tf.reshape(x, shape), labels, SPEC.ways)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(learner(episode)["logits"][0], expected, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modulated": ()}, "names at least one layer"),
        ({"modulated": ("block2_bn", "block2_bn")}, "none twice"),
        ({"modulated": ("block9_bn",)}, "There is no layer 'block9_bn'"),
        ({"noisy": ("block1_bn",), "noise": 0.3}, "'block1_bn', which is not one of the mod"),
        ({"noise": -0.1}, "noise must be at least 0"),
        ({"pairs_at_once": 0}, "received 0"),
        ({"modulated": "block2_bn"}, r"write \['block2_bn'\]"),
        ({"aggregation": "mean"}, "'mean'"),
        ({"normalize": "none"}, "'none'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_backbones_with_losses_of_their_own_are_refused():
    images = keras.Input(SHAPE)
    maps = keras.layers.Conv2D(4, 3, activity_regularizer="l2", name="first")(images)
    backbone = keras.Model(images, keras.layers.Conv2D(4, 3, name="second")(maps))
    with pytest.raises(ValueError, match="'first' has an activity regularizer"):
        CrossModulationNetwork(backbone, modulated=("second",))
