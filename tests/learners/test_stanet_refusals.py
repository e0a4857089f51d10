"""What STANet is not given, it names."""

import keras
import numpy as np
import pytest

from kfsl.learners.stanet import STANet
from tests.learners.test_stanet import CLASSES, SPEC, make


@pytest.fixture
def episode():
    keras.utils.set_random_seed(0)
    return SPEC.random_episode(seed=1)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": None}, "fixed number of `ways`"),
        ({"num_layers": 0}, "`num_layers` must be .*received 0"),
        ({"semantic_classes": -1}, "`semantic_classes` must be .*received -1"),
        ({"spatial_attention": "centre"}, "spatial_attention='centre'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_backbone_must_give_maps():
    images = keras.Input((16, 16, 1))
    backbone = keras.Model(images, keras.layers.Flatten()(images), name="flat")
    with pytest.raises(ValueError, match=r"'flat' gives \(None, 256\)"):
        STANet(backbone, ways=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1, 1, 0, 1], r"ways=3.*0 to 2.*received \[0, 1"),
        ([0, 1, 2, 3, 0, 1], "0 to 2, since there are 3 ways; received labels from 0 to 3"),
    ],
)
def test_labels_must_be_those_of_its_ways(labels, message, episode):
    episode["support_labels"] = np.array([labels], "int32")
    with pytest.raises(ValueError, match=message):
        make()(episode)


def test_class_ids_beyond_the_branch_are_named(episode):
    learner = make(semantic_classes=2)
    with pytest.raises(ValueError, match=r"`support_classes` has ids .* semantic_classes=2 allows"):
        learner.loss_parts(episode, np.zeros((1, 6), "int32"), learner(episode, training=True))


def test_missing_class_ids_are_named(episode):
    learner = make(semantic_classes=CLASSES)
    del episode["query_classes"]
    with pytest.raises(ValueError, match="needs `query_classes` in the episode"):
        learner.loss_parts(episode, np.zeros((1, 6), "int32"), learner(episode, training=True))


def test_semantic_logits_need_a_branch(episode):
    learner = make()
    with pytest.raises(ValueError, match="semantic_classes is 0"):
        learner.semantic_logits(learner.embed(episode["query_images"]))
