"""Where adaptation starts: at the weights, at a draw, or at what the support set says."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners import MAML
from kfsl.networks.adapted_network import AdaptedNetwork, backbone_with_head

SPEC = EpisodeSpec(3, 2, 4, (8, 8, 1))


class DrawnHead(AdaptedNetwork):
    """The head starts at a draw of each task's seed, as implants do."""

    def start(self, task, seed=None):
        draws = {}
        for i, (key, variable) in enumerate(zip(self.keys, self.variables, strict=True)):
            stream = tf.random.experimental.stateless_fold_in(seed, i)
            draws[key] = tf.random.stateless_normal(variable.shape, stream, alg="philox")
        return draws


class HeadOfSupport(AdaptedNetwork):
    """The head's bias starts at the mean of the support set's pixels, as a modulation might."""

    def start(self, task, seed=None):
        weights = super().start(task, seed)
        key = next(key for key in self.keys if "bias" in key)
        return {**weights, key: weights[key] + tf.reduce_mean(task["inputs"])}


class OwnStart(MAML):
    def __init__(self, backbone, kind, **kwargs):
        make = functools.partial(adapted_head, kind=kind)
        super().__init__(backbone, network=make, **kwargs)


def adapted_head(backbone, head, kind):
    network = backbone_with_head(backbone, head)
    paths = [variable.path for variable in network.trainable_variables]
    return kind(network, [i for i, path in enumerate(paths) if "head" in path])


def learner(kind, **arguments):
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=SPEC.image_shape, filters=4, num_pools=2)
    return OwnStart(backbone, kind, ways=SPEC.ways, **arguments)


def test_a_start_drawn_from_a_seed():
    maml = learner(DrawnHead, steps=0)
    episode, _ = SPEC.random_episode(meta_batch=2)
    seed = np.array([3, 7], "int64")
    support = episode["support_images"], episode["support_labels"]
    state = maml.adapt(*support, seed=seed)
    key = next(key for key in maml.adapted_network.keys if "kernel" in key)
    assert not np.array_equal(state[key][0], state[key][1])  # Each task has a draw of its own:
    again = maml.adapt(*(each[1:] for each in support), seed=np.array([3, 8], "int64"))
    np.testing.assert_array_equal(again[key][0], state[key][1])  # that of its number.
    assert abs(float(np.std(state[key])) - 1.0) < 0.2


def test_nothing_flows_back_to_weights_that_a_draw_replaces():
    maml = learner(DrawnHead, steps=1)
    maml.compile("sgd")
    episode, labels = SPEC.random_episode()
    episode = {**episode, "seed": tf.constant([0, 0], tf.int64)}
    _, _, gradients = maml.loss_and_gradients(episode, tf.constant(labels))
    found = dict(zip([w.path for w in maml.trainable_weights], gradients, strict=True))
    heads = [path for path in found if "head" in path]
    assert len(heads) == 2
    assert all(found[path] is None for path in heads)
    assert all(float(tf.norm(found[p])) > 0 for p in found if "kernel" in p and p not in heads)


def test_a_start_computed_from_the_support_set():
    maml = learner(HeadOfSupport, steps=0)
    episode, _ = SPEC.random_episode(meta_batch=2)
    state = maml.adapt(episode["support_images"], episode["support_labels"])
    key = next(key for key in maml.adapted_network.keys if "bias" in key)
    means = episode["support_images"].mean(axis=(1, 2, 3, 4)) / 255.0
    expected = np.repeat(means[:, None], SPEC.ways, axis=1)
    np.testing.assert_allclose(state[key], expected, rtol=1e-5)
    assert means[0] != means[1]


class OnATrunk(MAML):
    """Episodes adapt a head on features that no episode changes."""

    def __init__(self, trunk, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.trunk = trunk

    def embed(self, images, training=False, mask=None):
        flat = tf.reshape(images, (-1, *images.shape[2:]))
        maps = self.trunk(self.preprocessing(flat), training=False)
        return tf.reshape(maps, (*images.shape[:2], *maps.shape[1:]))

    def inputs_of(self, features):
        return features


def test_embed_is_a_hook_of_gradient_learners():
    keras.utils.set_random_seed(0)
    trunk = Conv4(image_shape=SPEC.image_shape, filters=4, num_pools=2)
    maps = keras.Input(trunk.output_shape[1:])
    backbone = keras.Model(maps, keras.layers.Conv2D(6, 1, activation="relu")(maps))
    maml = OnATrunk(trunk, backbone, ways=SPEC.ways, steps=1)
    episode, labels = SPEC.random_episode(meta_batch=2)
    features = maml.embed(episode["support_images"])
    assert features.shape == (2, SPEC.support_size, *trunk.output_shape[1:])
    state = maml.adapt(features, episode["support_labels"])
    logits = maml.infer(state, maml.embed(episode["query_images"]))["logits"]
    np.testing.assert_allclose(logits, maml(episode)["logits"], rtol=1e-5, atol=1e-6)
    maml.compile("adam")
    maml.train_on_batch(episode, labels)


@pytest.mark.parametrize("tasks", [1, 2])
def test_the_mode_of_a_task_reaches_its_loss(tasks):
    seen = []

    class Moded(MAML):
        def loss_parts(self, episode, query_labels, outputs):
            seen.append(episode["mode"].shape)
            return super().loss_parts(episode, query_labels, outputs)

    maml = Moded(Conv4(image_shape=SPEC.image_shape, filters=4, num_pools=2), ways=3, steps=0)
    maml.compile("sgd")
    episode, labels = SPEC.random_episode(meta_batch=tasks)
    episode = {**episode, "mode": np.arange(tasks, dtype="int32")}
    outputs, _, _ = maml.loss_and_gradients(episode, tf.constant(labels))
    assert set(seen) == {(1,)}
    assert set(outputs) == {"logits"}
    assert outputs["logits"].shape == (tasks, SPEC.query_size, 3)
