"""A learner and its data: what fits together."""

import keras
import pytest

from data_pipelines.load_dataset import load_dataset
from kfsl.experiment import Experiment
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support import letters


class Subclassed(keras.Model):
    def call(self, images):
        return keras.ops.mean(images, axis=(1, 2))


@pytest.mark.parametrize(
    "backbone",
    [Subclassed, lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])],
    ids=["subclassed", "sequential"],
)
def test_a_backbone_that_is_not_built(store, backbone):
    with pytest.raises(ValueError, match=r"is not built.*begins with keras.Input"):
        letters.experiment(store, learner=PrototypicalNetwork(backbone()))


def test_a_backbone_for_images_of_another_rank(store):
    inputs = keras.Input((64,))
    backbone = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    with pytest.raises(ValueError, match=r"images of shape \(64,\)"):
        letters.experiment(store, learner=PrototypicalNetwork(backbone))


def test_the_label_level_is_one_of_two(store):
    good = letters.experiment(store)
    with pytest.raises(ValueError, match='"class" or "superclass"'):
        Experiment(good.learner, good.dataset, good.sampler, label_level="family")


def test_arguments_of_another_kind_are_named(store):
    good = letters.experiment(store)

    class Drawing:
        def __call__(self, split, seed, index):
            return good.sampler(split, seed, index)

    assert Experiment(good.learner, good.dataset, Drawing())
    assert Experiment(good.learner, good.dataset, lambda *given: good.sampler(*given))
    for sampler in (Drawing, len, load_dataset, "fixed_episode", lambda split: {}):
        with pytest.raises(ValueError, match=r"Experiment\.evaluation_sampler must be a function"):
            Experiment(good.learner, good.dataset, good.sampler, sampler)
    with pytest.raises(ValueError, match=r"Experiment\.learner must be .*Network.*received None"):
        Experiment(None, good.dataset, good.sampler)
