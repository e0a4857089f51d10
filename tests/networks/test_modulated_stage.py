"""Backbones cut behind their modulated layers."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.networks.modulated_stage import staged_backbone

SHAPE = (16, 16, 1)
IMAGES = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")


def unmodulated(x, other, pools):
    del other
    for pool in pools:
        x = pool(x)
    return x


@pytest.mark.parametrize(
    ("backbone", "modulated"),
    [
        (Conv4(SHAPE, filters=4), ("block4_bn", "block2_bn")),
        (Conv4(SHAPE, filters=4, order="bn-pool-activation"), ("block1_bn", "block2_activation")),
        (Conv4(SHAPE, filters=4, order="pool-bn-activation"), ("block2_conv", "block3_bn")),
        (Conv4(SHAPE, filters=4, num_pools=2, activate_last=False), ("block3_bn", "block4_bn")),
        (Conv4(SHAPE, filters=4, activation="gelu"), ("block2_bn",)),
        (ResNet12(SHAPE, filters=(4, 4, 8, 8)), ("block1_pool", "block3_pool")),
    ],
    ids=["Conv4", "pool first", "pool before bn", "bare end", "not monotone", "ResNet12"],
)
def test_the_stages_are_the_backbone(backbone, modulated):
    staged = staged_backbone(backbone, modulated)
    trunk, stages = staged.trunk, staged.stages
    names = [layer.name for layer in backbone.layers]
    assert [stage.name for stage in stages] == sorted(modulated, key=names.index)
    x = trunk(IMAGES)
    for stage in stages:
        x = stage(unmodulated, x, None, training=False)
    np.testing.assert_allclose(x, backbone(IMAGES), rtol=1e-5, atol=1e-6)


def test_what_may_change_places_with_the_modulation():
    def moved(backbone, *modulated):
        stage = staged_backbone(backbone, modulated).stages[0]
        return [layer.name for layer in (*stage.pools, *stage.activations)]

    plain = Conv4(SHAPE, filters=4)
    assert moved(plain, "block2_bn") == ["block2_pool", "block2_activation"]
    # A layer that is modulated itself stays where it is.
    assert moved(plain, "block2_bn", "block2_pool") == ["block2_activation"]
    gelu = Conv4(SHAPE, filters=4, activation="gelu")
    assert moved(gelu, "block2_bn") == []


def test_stages_keep_leading_axes():
    staged = staged_backbone(Conv4(SHAPE, filters=4), ("block2_bn",))
    trunk, (stage,) = staged.trunk, staged.stages
    maps = keras.ops.reshape(trunk(IMAGES), (1, 3, 1, 8, 8, 4))

    def pooled(x, other, pools):
        del other
        flat = keras.ops.reshape(x, (-1, *x.shape[3:]))
        return keras.ops.reshape(unmodulated(flat, None, pools), (1, 3, 1, 4, 4, 4))

    assert stage(pooled, maps, None, training=False).shape == (1, 3, 1, 1, 1, 4)


def with_one_activation_twice():
    relu = keras.layers.ReLU(name="relu")
    images = x = keras.Input(SHAPE)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv{block}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{block}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(relu(x))
    return keras.Model(images, x)


@pytest.mark.parametrize("modulated", [("bn1",), ("bn2",), ("bn1", "bn2")], ids=str)
def test_a_layer_that_is_called_twice(modulated):
    backbone = with_one_activation_twice()
    staged = staged_backbone(backbone, modulated)
    x = staged.trunk(IMAGES)
    for stage in staged.stages:
        assert not stage.activations
        x = stage(unmodulated, x, None, training=False)
    np.testing.assert_allclose(x, backbone(IMAGES), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="'relu' is called 2 times"):
        staged_backbone(backbone, ("relu",))


def test_layers_beside_others_are_refused():
    with pytest.raises(ValueError, match="on more ways than through it"):
        staged_backbone(ResNet12(SHAPE, filters=(4, 4, 8, 8)), ("block2_1_conv",))
    with pytest.raises(ValueError, match="There is no layer 'block7_bn'"):
        staged_backbone(Conv4(SHAPE, filters=4), ("block7_bn",))
