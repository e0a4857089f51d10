"""Exports whose images may have any size, of networks that bring them to one."""

import keras

from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.learners.simple_shot import SimpleShot
from kfsl.serving.export import export


def test_images_of_any_size_for_a_network_of_one_size(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]
    backbone = PretrainedBackbone(keras.Sequential(layers), image_size=(12, 10))
    # Compared with the learner on images of the training size and of a larger one.
    description = export(SimpleShot(backbone), str(tmp_path / "model"), image_shape=(12, 10, 3))
    assert description["image"]["shape"] == [None, None, 3]
    assert description["difference_from_python"] < 1e-5
