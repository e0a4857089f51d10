"""Images in 0..1 given to learners that take raw pixels: refused wherever they come in."""

import keras
import pytest
import tensorflow as tf

from kfsl.episodes import EpisodeSpec
from tests.support.exported_model import SHAPE, maml, prototypical_network

SPEC = EpisodeSpec(ways=4, shots=1, queries=2, image_shape=SHAPE)
LEARNERS = {"metric": prototypical_network, "gradient": maml}


def scaled(meta_batch=1, by=1 / 255):
    episode, labels = SPEC.random_episode(meta_batch=meta_batch)
    images = ("support_images", "query_images")
    return {k: v.astype("float32") * by if k in images else v for k, v in episode.items()}, labels


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("meta_batch", [1, 2])
def test_a_call_refuses_them(make, meta_batch):
    episode, _ = scaled(meta_batch)
    with pytest.raises(ValueError, match="Pixels from 0 to 255 are expected"):
        make()(episode)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("meta_batch", [1, 2])
def test_training_refuses_them_and_raw_floats_are_as_integers(make, meta_batch):
    learner = make()
    learner.compile(keras.optimizers.SGD(1e-3))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Pixels from 0 to 255 are expected"):
        learner.train_on_batch(*scaled(meta_batch))
    floats = learner.test_on_batch(*scaled(meta_batch, by=1.0), return_dict=True)
    integers = learner.test_on_batch(*SPEC.random_episode(meta_batch=meta_batch), return_dict=True)
    assert floats["accuracy"] == integers["accuracy"] > 0.25


def test_queries_alone_are_refused_too():
    raw, _ = SPEC.random_episode()
    with pytest.raises(ValueError, match="Pixels from 0 to 255 are expected"):
        prototypical_network()({**raw, "query_images": scaled()[0]["query_images"]})
