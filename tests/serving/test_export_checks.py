"""An export whose graph answers otherwise than the learner is not written."""

import os

import pytest
import tensorflow as tf
from keras import ops

from kfsl.learners.stanet import STANet
from kfsl.serving import export as serving
from tests.support.exported_model import SHAPE, prototypical_network
from tests.support.one_step import OneStep


class RandomAdaptation(OneStep):
    """What cannot be served: other weights at each call."""

    def adapt(self, features, labels, mask=None, seed=None, training=False):
        state = super().adapt(features, labels)
        return {key: value + tf.random.normal(tf.shape(value)) for key, value in state.items()}


def test_a_graph_that_differs_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="differs from the learner"):
        serving.export(RandomAdaptation(), str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []


class TinyLogits(OneStep):
    """Logits of 2.5e-5 that are the difference of larger numbers: the graph rounds otherwise."""

    rounding = 1.1e-8

    def _logits(self, kernel, bias, images):
        logits = super()._logits(kernel, bias, images)
        logits = 2.5e-5 * logits / ops.maximum(ops.max(ops.abs(logits)), 1e-6)
        return logits if tf.executing_eagerly() else logits + self.rounding


class TinyAndWrong(TinyLogits):
    rounding = 1e-5


def test_tiny_logits_may_round(tmp_path):
    description = serving.export(TinyLogits(), str(tmp_path / "model"), image_shape=SHAPE)
    assert description["difference_from_python"] < 1e-6


def test_tiny_logits_may_not_be_wrong(tmp_path):
    with pytest.raises(ValueError, match="infer's logits by 1e-05 where 1e-06 is rounding"):
        serving.export(TinyAndWrong(), str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []


class Boastful(OneStep):
    takes_fewer_ways = True

    def infer(self, state, query_features, training=False):
        return {"logits": 0.01 * super().infer(state, query_features)["logits"]}


def test_a_learner_is_held_to_its_word_on_fewer_ways(tmp_path):
    with pytest.raises(
        ValueError, match=r"Boastful says that it takes fewer.*takes_fewer_ways = False"
    ):
        serving.export(Boastful(), str(tmp_path / "model"), image_shape=SHAPE)
    with pytest.raises(
        ValueError, match=r"BoastfulSTANet says .* refuses an episode of 3.*This learner has ways=4"
    ):
        serving.export(boastful_stanet(), str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []


class BoastfulSTANet(STANet):
    takes_fewer_ways = True


def boastful_stanet():
    return BoastfulSTANet(prototypical_network().backbone, 4, num_layers=1)
