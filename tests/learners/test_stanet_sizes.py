"""How many weights STANet has."""

import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12
from kfsl.learners.stanet import STANet
from tests.learners.test_stanet import make


def parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("size", "num_layers", "total"),
    [
        (64, 1, 138_368),
        (64, 3, 188_800),
        (32, 1, 127_808),
        (32, 3, 153_024),
        (128, 1, 159_488),
        (128, 3, 260_352),
    ],
)
def test_parameters_with_conv4(size, num_layers, total):
    learner = STANet(
        Conv4(image_shape=(84, 84, 3)),
        ways=5,
        num_layers=num_layers,
        spatial_key_dim=size,
        task_key_dim=size,
        value_dim=size,
        semantic_classes=64,
    )
    assert parameters(learner.backbone) == 113_088
    assert parameters(learner) == total


@pytest.mark.parametrize(("num_layers", "total"), [(1, 2_371_360), (3, 2_569_248)])
@pytest.mark.parametrize("final_bn", [False, True])
def test_parameters_with_resnet12(num_layers, total, final_bn):
    backbone = PreActivationResNet12(image_shape=(84, 84, 3), final_bn=final_bn)
    learner = STANet(backbone, ways=5, num_layers=num_layers, semantic_classes=64)
    assert parameters(learner) == total + (512 if final_bn else 0)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_parameters_of_the_head_by_the_formula(num_layers):
    channels, spatial, task, value, ways = 8, 6, 7, 12, 3
    learner = make(num_layers=num_layers)
    expected = ways * value * num_layers
    for layer in range(num_layers):
        query = channels if layer == 0 else 2 * channels
        expected += spatial * query + spatial * channels
        expected += 2 * task * channels + value * (channels + ways)
    assert parameters(learner) - parameters(learner.backbone) == expected


def test_parameters_of_one_layer_without_semantics():
    learner = STANet(Conv4(image_shape=(84, 84, 3)), ways=5, num_layers=1)
    assert parameters(learner) - parameters(learner.backbone) == 21_120
