"""Functions between the layers of a network."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.networks.insertion import output_with_insertions

IMAGES = np.random.default_rng(0).normal(size=(3, 16, 16, 2)).astype("float32")


def conv4():
    keras.utils.set_random_seed(0)
    return Conv4((16, 16, 2), filters=3, num_pools=2)


def modified(backbone, insertions):
    return keras.Model(backbone.input, output_with_insertions(backbone, insertions))


def test_nothing_inserted_changes_nothing():
    backbone = conv4()
    for names in ((), ("block2_pool",), ("block1_conv", "block4_activation")):
        model = modified(backbone, dict.fromkeys(names, lambda maps: maps))
        np.testing.assert_array_equal(model(IMAGES), backbone(IMAGES))
        assert [w.path for w in model.weights] == [w.path for w in backbone.weights]


def test_functions_act_where_they_are_inserted():
    backbone = conv4()
    model = modified(
        backbone, {"block4_activation": lambda maps: maps + 1.0, "block2_pool": lambda maps: -maps}
    )
    x = IMAGES
    for layer in backbone.layers[1:]:
        x = layer(x)
        x = -x if layer.name == "block2_pool" else x
    np.testing.assert_allclose(model(IMAGES), x + 1.0, rtol=1e-6)
    assert np.max(np.abs(model(IMAGES) - backbone(IMAGES) - 1.0)) > 1e-3


def test_after_a_residual_block_but_not_inside():
    backbone = ResNet12((16, 16, 2), filters=(2, 2, 2, 2))
    model = modified(backbone, {"block2_pool": lambda maps: maps})
    np.testing.assert_array_equal(model(IMAGES), backbone(IMAGES))
    with pytest.raises(ValueError, match="on more ways than through it"):
        modified(backbone, {"block2_1_conv": lambda maps: maps})


def test_unknown_layer():
    with pytest.raises(ValueError, match="no layer 'block5_pool'; the layers are images, block1"):
        modified(conv4(), {"block5_pool": lambda maps: maps})
