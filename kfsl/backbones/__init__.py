"""Backbones: plain Keras models from images to feature maps."""

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.efficientnet_lite0 import EfficientNetLite0
from kfsl.backbones.mlp import MLP
from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12
from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.backbones.pretrained_networks import pretrained
from kfsl.backbones.resnet12 import ResNet12
from kfsl.backbones.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "Conv4",
    "EfficientNetLite0",
    "PreActivationResNet12",
    "PretrainedBackbone",
    "ResNet12",
    "WideResNet",
    "pretrained",
]
