"""MProtoNet and KML keep the contract of learners; a task's network is its own."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.modulated_prototypical_network import (
    ModulatedPrototypicalNetwork,
    refined_prototypes,
)
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.learners.test_maml import BEFORE_NORMALIZATION
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic, logits_of, loss_gradients

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def small_learner(**arguments) -> ModulatedPrototypicalNetwork:
    keras.utils.set_random_seed(0)
    backbone, encoder = (two_blocks((8, 8, 1), filters=4, bn_momentum=0.5) for _ in range(2))
    return ModulatedPrototypicalNetwork(
        backbone, encoder, **{"ways": 3, "embedding_size": 6, **arguments}
    )


class TestModulatedPrototypicalNetwork(LearnerContract):
    spec = SPEC
    variants = (
        {"bn_policy": "support"},
        {"generator": "film", "residual": False},
        {"generator": "full", "bn_policy": "running", "refined": True},
    )
    #: Of convolutions before a normalisation, the generators' offsets too.
    zero_gradients = {
        **BEFORE_NORMALIZATION,
        "conv/head3": "normalisation takes constants away",
    }

    def make_learner(self, **arguments) -> ModulatedPrototypicalNetwork:
        if arguments.get("generator") == "full":
            self.zero_gradients = {
                **BEFORE_NORMALIZATION,
                "conv/head2": "normalisation takes constants away",
            }
        return small_learner(**arguments)


def test_counts_are_the_papers():
    backbone, encoder = (
        Conv4((84, 84, 3), filters=(32, 64, 128, 256), num_pools=0, strides=2) for _ in range(2)
    )

    def count(learner, part):
        return sum(int(np.prod(weight.shape)) for weight in learner.weight_parts()[part])

    learner = ModulatedPrototypicalNetwork(backbone, encoder)
    assert count(learner, "backbone") == 389_376
    assert count(learner, "modulation") == 751_867
    film = ModulatedPrototypicalNetwork(backbone, encoder, generator="film")
    assert count(film, "modulation") == 546_112
    assert count(learner, "backbone") + count(learner, "modulation") == 1_141_243


def test_generators_of_zero_make_it_a_prototypical_network():
    learner = generic(small_learner(bn_policy="support", scale=0.25))
    for made in learner.generators:
        for weight in made.weights:
            weight.assign(np.zeros(weight.shape))
    plain = PrototypicalNetwork(learner.backbone, bn_policy="support", scale=0.25)
    episode, _ = SPEC.random_episode(meta_batch=2)
    np.testing.assert_allclose(logits_of(learner, episode), logits_of(plain, episode), rtol=1e-4)


@pytest.mark.parametrize("generator", ["factorised", "full", "film"])
def test_beside_a_plain_reference_in_double_precision(generator):
    """Task by task, layers called one by one with weights that were multiplied by hand."""
    keras.config.set_dtype_policy("float64")
    try:
        learner = generic(small_learner(generator=generator))
        episode, labels = SPEC.random_episode(meta_batch=2)
        outputs = learner(episode, training=True)["logits"]
        gradients = loss_gradients(learner, episode, labels)
        expected, expected_gradients = reference(learner, episode, labels)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(outputs, expected, rtol=1e-9)
    largest = max(np.max(np.abs(gradient)) for gradient in expected_gradients)
    for (path, gradient), other in zip(gradients.items(), expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-7 * largest, err_msg=path)


def reference(learner, episode, labels):
    import tensorflow as tf

    weights = learner.trainable_weights
    with tf.GradientTape() as tape:
        logits = tf.stack([one_task(learner, episode, b) for b in range(len(labels))])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels.reshape(-1), tf.reshape(logits, (-1, 3))
        )
        loss = tf.reduce_mean(losses)
    found = tape.gradient(loss, [weight.value for weight in weights])
    return logits, [gradient.numpy() for gradient in found]


def one_task(learner, episode, b):
    import tensorflow as tf

    # A functional model takes its inputs in the type that they were declared with.
    support, queries = (
        tf.cast(tf.cast(learner.preprocessing(episode[name][b]), "float32"), "float64")
        for name in ("support_images", "query_images")
    )
    encoder = learner.task_encoder
    hidden = tf.reduce_mean(forward(learner.encoder, support), (1, 2)) @ encoder.dense.kernel.value
    embedding = tf.reduce_mean(tf.nn.relu(hidden + encoder.dense.bias.value), 0)
    made = {g.name.split("_", 1)[1]: g for g in learner.generators}  # By the layer's name.
    features = [
        tf.reshape(forward(learner.backbone, x, made, embedding), (len(x), -1))
        for x in (support, queries)
    ]
    own = episode["support_labels"][b]
    prototypes = tf.stack([tf.reduce_mean(features[0][own == c], 0) for c in range(3)])
    return -tf.reduce_sum((features[1][:, None] - prototypes[None]) ** 2, -1)


def dense(vector, layer):
    return (vector[None] @ layer.kernel.value)[0] + layer.bias.value


def forward(network, x, made=None, embedding=None):
    """Layer by layer, with the batch's own moments."""
    import tensorflow as tf

    made = made or {}
    for layer in network.layers[1:]:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.kernel.value, layer.bias.value
            generator = made.get(layer.name)
            if generator is not None:
                heads = [dense(embedding, h) for h in generator.heads]
                y, width, inputs = kernel.shape[:3]
                if generator.form == "full":
                    change = tf.reshape(heads[0], kernel.shape)
                elif generator.rows_with_outputs:
                    first, second = (tf.reshape(h, (-1, 3)) for h in heads[:2])
                    change = tf.einsum("oy,ix->yxio", first, second)
                else:
                    rest = tf.reshape(heads[1], (inputs, y, width))
                    change = tf.einsum("o,iyx->yxio", heads[0], rest)
                kernel, bias = kernel * (1.0 + change), bias + heads[-1]
            x = tf.nn.conv2d(x, kernel, 1, layer.padding.upper()) + bias
        elif "bn" in layer.name:
            mean, variance = tf.nn.moments(x, (0, 1, 2))
            x = (x - mean) / tf.sqrt(variance + layer.epsilon)
            x = layer.gamma.value * x + layer.beta.value
            if layer.name in made:
                gamma, beta = tf.split(dense(embedding, made[layer.name]), 2)
                x = (1.0 + gamma) * x + beta
        else:
            x = layer(x)
    return x


def test_the_embedding_does_not_depend_on_queries_or_labels():
    learner = generic(small_learner())
    episode, _ = SPEC.random_episode()
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    again = learner.adapt(episode["support_images"], np.roll(episode["support_labels"], 1, axis=1))
    np.testing.assert_array_equal(state["task_embedding"], again["task_embedding"])
    assert np.any(state["prototypes"] != again["prototypes"])


def test_tasks_have_networks_of_their_own():
    learner = generic(small_learner())
    episode, _ = SPEC.random_episode(meta_batch=2)
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    queries = np.repeat(episode["query_images"][:1], 2, axis=0)
    swapped = {**state, "task_embedding": state["task_embedding"][::-1]}
    one, other = (learner.infer(each, queries)["logits"] for each in (state, swapped))
    assert np.max(np.abs(one - other)) > 1e-4


def test_refinement_without_queries_changes_nothing_and_with_certain_ones_is_a_mean():
    random = np.random.default_rng(0)
    support, queries = random.normal(size=(6, 4)), random.normal(size=(1, 3, 4))
    labels, answers = np.repeat([0, 1], 3), np.array([0, 0, 1])
    prototypes = np.stack([support[labels == c].mean(0) for c in (0, 1)])[None]
    counts = np.full((1, 2), 3.0)
    none = refined_prototypes(prototypes, counts, queries[:, :0], np.zeros((1, 0, 2)))
    np.testing.assert_allclose(none, prototypes, rtol=1e-6)
    certain = refined_prototypes(prototypes, counts, queries, np.eye(2)[answers][None])
    every, owners = np.concatenate([support, queries[0]]), np.concatenate([labels, answers])
    expected = np.stack([every[owners == c].mean(0) for c in (0, 1)])
    np.testing.assert_allclose(certain[0], expected, rtol=1e-5)


@pytest.mark.parametrize("bn_policy", ["batch", "support", "running"])
def test_networks_whose_moments_are_not_a_tasks_are_refused(bn_policy):
    stock = two_blocks((8, 8, 1), filters=4, normalization="stock")
    exact = two_blocks((8, 8, 1), filters=4)
    for name, networks in (("backbone", (stock, exact)), ("encoder", (exact, stock))):
        message = rf"`{name}` .* layer 'block1_bn' is Keras's BatchNormalization"
        with pytest.raises(ValueError, match=message):
            ModulatedPrototypicalNetwork(*networks, ways=3, bn_policy=bn_policy)


@pytest.mark.parametrize("bn_policy", ["batch", "support"])
def test_a_frozen_normalisation_is_no_reason_to_draw_at_test(bn_policy):
    """Networks with Keras's own are called as in training, but for their moments alone."""
    images = keras.Input((8, 8, 1))
    frozen = two_blocks((8, 8, 1), filters=4, normalization="stock")
    frozen.trainable = False
    maps = keras.layers.Dropout(0.5)(keras.layers.Conv2D(4, 1)(frozen(images)))
    backbone = keras.Model(images, maps)
    learner = generic(ModulatedPrototypicalNetwork(backbone, frozen, ways=3, bn_policy=bn_policy))
    episode, _ = SPEC.random_episode()
    np.testing.assert_array_equal(logits_of(learner, episode), logits_of(learner, episode))


def test_tasks_do_not_overlap_where_the_encoder_draws():
    images = keras.Input((8, 8, 1))
    drawing = keras.Model(images, keras.layers.Dropout(0.5)(keras.layers.Conv2D(4, 3)(images)))
    learners = [
        ModulatedPrototypicalNetwork(two_blocks((8, 8, 1), filters=4), encoder, ways=3)
        for encoder in (drawing, two_blocks((8, 8, 1), filters=4))
    ]
    assert [learner.policy_network.moves for learner in learners] == [True, False]


def test_refinement_makes_it_transductive():
    assert small_learner(bn_policy="running", refined=True).transductive
    assert not small_learner(bn_policy="running").transductive
    assert small_learner().transductive
