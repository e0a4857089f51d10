"""The published networks: parameter counts and shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12
from kfsl.backbones.resnet12 import ResNet12
from kfsl.backbones.wide_resnet import WideResNet

C128F = {"filters": (64, 64, 128, 128), "use_bias": False, "activate_last": False}


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


@pytest.mark.parametrize(
    ("build", "trainable", "averages"),
    [
        (lambda: Conv4(), 113_088, 512),
        (lambda: Conv4(image_shape=(28, 28, 1)), 111_936, 512),
        (lambda: Conv4(**C128F), 260_544, 768),
        (lambda: Conv4(filters=32, bn_scale=False), 28_640 + 128, 256),
        (lambda: Conv4(filters=32, bn_scale=False, bn_center=False), 28_640, 256),
        (lambda: PreActivationResNet12(final_bn=False), 2_272_352, 2_880),
        (lambda: PreActivationResNet12(), 2_272_352 + 512, 2_880 + 512),
        (lambda: ResNet12(), 7_996_800, 7_680),
        (lambda: ResNet12(shortcut_bn=False), 7_994_880, 5_760),
        (lambda: ResNet12(filters=(64, 128, 256, 528)), 8_337_408, 7_808),
    ],
    ids=[
        "Conv-4",
        "Conv-4, grey",
        "C128F",
        "MAML, mini-ImageNet",
        "no offsets",
        "pre-activation trunk",
        "pre-activation",
        "ResNet-12",
        "ResNet-12, plain shortcut",
        "ResNet-12, wide",
    ],
)
def test_parameter_count(build, trainable, averages):
    backbone = build()
    assert count(backbone.trainable_weights) == trainable
    assert count(backbone.non_trainable_weights) == averages


def test_wide_resnet_is_the_published_network():
    """Published for CIFAR-10: 36,479,194 parameters, 6,410 of them the classifier's."""
    backbone = WideResNet(image_shape=(32, 32, 3))
    assert count(backbone.trainable_weights) == 36_479_194 - (640 * 10 + 10)
    assert backbone.output_shape == (None, 8, 8, 640)
    # The 28 of the name: the stem, 24 in the blocks, three shortcuts.
    convolutions = [layer for layer in backbone.layers if layer.name.endswith("_conv")]
    assert len(convolutions) == 28


def test_resnet12_blocks():
    weights = ResNet12().trainable_weights
    counts = [count(w for w in weights if w.path.startswith(f"block{b}_")) for b in range(1, 5)]
    assert counts == [76_160, 377_856, 1_509_376, 6_033_408]


@pytest.mark.parametrize(
    ("cls", "arguments", "size", "expected"),
    [
        (Conv4, {}, 84, (5, 5, 64)),
        (Conv4, {}, 32, (2, 2, 64)),
        (Conv4, {}, 28, (1, 1, 64)),
        (Conv4, {"num_pools": 2}, 32, (8, 8, 64)),
        (Conv4, {"num_pools": 2}, 28, (7, 7, 64)),
        (Conv4, {"num_pools": 0}, 28, (28, 28, 64)),
        (Conv4, C128F, 84, (5, 5, 128)),
        (Conv4, {"strides": 2, "num_pools": 0}, 28, (2, 2, 64)),
        (Conv4, {"pool_padding": "same"}, 84, (6, 6, 64)),
        (PreActivationResNet12, {}, 84, (5, 5, 256)),
        (PreActivationResNet12, {}, 32, (2, 2, 256)),
        (PreActivationResNet12, {"num_pools": 2}, 28, (7, 7, 256)),
        (ResNet12, {}, 84, (5, 5, 512)),
        (ResNet12, {}, 32, (2, 2, 512)),
        (ResNet12, {"num_pools": 3}, 84, (10, 10, 512)),
        (WideResNet, {"depth": 10, "width": 2}, 84, (21, 21, 128)),
        (WideResNet, {"depth": 10, "width": 2}, 28, (7, 7, 128)),
    ],
)
def test_feature_map_shape(cls, arguments, size, expected):
    assert cls(image_shape=(size, size, 3), **arguments).output_shape == (None, *expected)


@pytest.mark.parametrize("cls", [Conv4, ResNet12, PreActivationResNet12])
@pytest.mark.parametrize("num_pools", range(5))
def test_the_first_blocks_pool(cls, num_pools):
    backbone = cls(filters=(2, 2, 2, 2), num_pools=num_pools)
    pools = [layer.name for layer in backbone.layers if layer.name.endswith("pool")]
    assert pools == [f"block{b}_pool" for b in range(1, num_pools + 1)]


def test_a_call_has_the_shape_the_graph_promises():
    backbone = Conv4()
    for size, side in ((84, 5), (32, 2), (28, 1)):
        assert backbone(np.zeros((2, size, size, 3), "float32")).shape == (2, side, side, 64)


def test_c128f_keeps_negative_features():
    """No ReLU after its last block; Conv-4 has one."""
    images = np.random.default_rng(0).normal(size=(2, 84, 84, 3)).astype("float32")
    assert np.min(Conv4(**C128F)(images)) < 0
    assert np.min(Conv4()(images)) >= 0


class Written:
    """The layers of a backbone by name, applied with TensorFlow's plain operations."""

    def __init__(self, backbone):
        self.backbone = backbone
        rng = np.random.default_rng(1)
        for weight in backbone.weights:
            if len(weight.shape) == 1:
                weight.assign(rng.uniform(0.5, 1.5, size=weight.shape))

    def conv(self, x, name, stride=1):
        layer = self.backbone.get_layer(f"{name}_conv")
        y = tf.nn.conv2d(x, layer.kernel, stride, "SAME")
        return y + layer.bias if layer.use_bias else y

    def bn(self, x, name):
        layer = self.backbone.get_layer(f"{name}_bn")
        unit = (x - layer.moving_mean) / tf.sqrt(layer.moving_variance + layer.epsilon)
        return unit * layer.gamma + layer.beta

    @staticmethod
    def pool(x):
        return tf.nn.max_pool2d(x, 2, 2, "VALID")

    def conv4(self, x):
        for block in ("block1", "block2", "block3", "block4"):
            x = self.pool(tf.nn.relu(self.bn(self.conv(x, block), block)))
        return x

    def conv4_in_order(self, x):
        steps = {
            "bn": self.bn,
            "activation": lambda x, block: tf.nn.relu(x),
            "pool": lambda x, block: self.pool(x) if block != "block4" else x,
        }
        for block in ("block1", "block2", "block3", "block4"):
            x = self.conv(x, block)
            for step in self.backbone.order.split("-"):
                x = steps[step](x, block)
        return x

    def resnet12(self, x):
        for block in ("block1", "block2", "block3", "block4"):
            shortcut = self.bn(self.conv(x, f"{block}_shortcut"), f"{block}_shortcut")
            x = tf.nn.silu(self.bn(self.conv(x, f"{block}_1"), f"{block}_1"))
            x = tf.nn.silu(self.bn(self.conv(x, f"{block}_2"), f"{block}_2"))
            x = self.bn(self.conv(x, f"{block}_3"), f"{block}_3")
            x = self.pool(tf.nn.silu(x + shortcut))
        return x

    def pre_activation_resnet12(self, x):
        x = self.conv(x, "stem")
        for block in ("block1", "block2", "block3", "block4"):
            shortcut = self.conv(x, f"{block}_shortcut")
            for i in (1, 2, 3):
                x = tf.nn.leaky_relu(self.bn(x, f"{block}_{i}"), 0.1)
                x = self.conv(x, f"{block}_{i}")
            x = self.pool(x + shortcut)
        return tf.nn.relu(self.bn(x, "final"))

    def wide_resnet(self, x):
        x = self.conv(x, "stem")
        for stage, stride in (("stage1", 1), ("stage2", 2), ("stage3", 2)):
            for block in (f"{stage}_block1", f"{stage}_block2"):
                first = block.endswith("1")
                y = tf.nn.relu(self.bn(x, f"{block}_1"))
                shortcut = self.conv(y, f"{block}_shortcut", stride) if first else x
                y = self.conv(y, f"{block}_1", stride if first else 1)
                x = shortcut + self.conv(tf.nn.relu(self.bn(y, f"{block}_2")), f"{block}_2")
        return tf.nn.relu(self.bn(x, "final"))


def ordered(order):
    return lambda: Conv4(filters=(4, 5, 6, 7), num_pools=3, order=order)


@pytest.mark.parametrize(
    ("backbone", "equations"),
    [
        (lambda: Conv4(filters=(4, 5, 6, 7)), Written.conv4),
        (ordered("bn-activation-pool"), Written.conv4_in_order),
        (ordered("bn-pool-activation"), Written.conv4_in_order),
        (ordered("pool-bn-activation"), Written.conv4_in_order),
        (lambda: ResNet12(filters=(4, 5, 6, 7)), Written.resnet12),
        (lambda: PreActivationResNet12(filters=(4, 5, 6, 7)), Written.pre_activation_resnet12),
        (lambda: WideResNet(depth=16, width=2), Written.wide_resnet),
    ],
    ids=[
        "Conv-4",
        "default order",
        "CAVIA",
        "Leap",
        "ResNet-12",
        "pre-activation ResNet-12",
        "WRN",
    ],
)
def test_the_graph_is_the_papers_order_of_operations(backbone, equations):
    keras.utils.set_random_seed(0)
    backbone = backbone()
    images = np.random.default_rng(0).normal(size=(2, 33, 32, 3)).astype("float32")
    written = Written(backbone)
    expected = equations(written, images)
    np.testing.assert_allclose(backbone(images), expected, rtol=1e-4, atol=1e-4)
    assert np.std(expected) > 0.01


def test_stock_normalisation_is_keras_own_and_gives_the_same_values():
    exact, stock = (Conv4(filters=4, normalization=name) for name in ("exact", "stock"))
    stock.set_weights(exact.get_weights())
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        stock(images, training=True), exact(images, training=True), rtol=1e-4, atol=1e-5
    )
    assert type(stock.get_layer("block1_bn")) is keras.layers.BatchNormalization
