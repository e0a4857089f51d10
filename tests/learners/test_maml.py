"""MAML keeps the contract of learners, and what its fact sheet says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.maml import MAML
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic, loss_gradients

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))
# The mean of a batch takes away whatever a bias adds before it.
BEFORE_NORMALIZATION = {
    f"block{i}_conv/bias": "normalisation takes constants away" for i in range(1, 5)
}


def small_learner(normalization: str = "exact", **arguments) -> MAML:
    keras.utils.set_random_seed(0)
    backbone = Conv4(
        (8, 8, 1), filters=4, num_pools=2, bn_momentum=0.5, normalization=normalization
    )
    return MAML(backbone, ways=3, **arguments)


class TestMAML(LearnerContract):
    spec = SPEC
    variants = (
        {"steps": 2, "inner_rate": 0.1},
        {"steps": 1, "bn_policy": "support", "adapted": ("head",), "rates": "shared"},
        {"steps": 6, "first_order": True, "rates": "per_tensor"},
    )
    zero_gradients = BEFORE_NORMALIZATION

    def make_learner(self, **arguments) -> MAML:
        return MAML(two_blocks((8, 8, 1), filters=4, bn_momentum=0.5), ways=3, **arguments)


def adapted(learner: MAML, episode: dict) -> dict[str, np.ndarray]:
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    return {key: value[0].numpy() for key, value in state.items()}


def count(tensors) -> int:
    return sum(int(np.prod(tensor.shape)) for tensor in tensors)


def test_without_a_rate_nothing_is_learnt():
    learner = generic(small_learner(inner_rate=0.0, steps=3))
    episode, _ = SPEC.random_episode()
    with moments_scope(1):
        expected = learner.network(episode["query_images"][0] / 255.0, training=True)
    np.testing.assert_allclose(learner(episode)["logits"][0], expected, rtol=1e-5, atol=1e-6)


def test_first_order_differs_in_the_meta_gradient_alone():
    episode, labels = SPEC.random_episode()
    learners = [generic(small_learner(steps=1, inner_rate=0.5, first_order=f)) for f in (0, 1)]
    states = [adapted(learner, episode) for learner in learners]
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)
    second, first = (loss_gradients(learner, episode, labels) for learner in learners)
    key = "0:block1_conv/kernel"
    assert np.linalg.norm(first[key] - second[key]) > 1e-2 * np.linalg.norm(second[key])


def test_the_inner_gradient_is_that_of_the_published_code_over_the_ways():
    """Finn's code sums over images and divides by the shots: ways times the mean loss."""
    shots, published_rate = SPEC.shots, 0.1
    learner = generic(small_learner(steps=1, inner_rate=SPEC.ways * published_rate))
    episode, _ = SPEC.random_episode()
    variables = learner.network.trainable_variables
    images = episode["support_images"][0] / 255.0
    with tf.GradientTape() as tape, moments_scope(1):
        logits = learner.network(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            episode["support_labels"][0], logits
        )
        loss = tf.reduce_sum(losses) / shots
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    state = adapted(learner, episode)
    for key, variable, gradient in zip(
        learner.adapted_network.keys, variables, gradients, strict=True
    ):
        expected = variable.numpy() - published_rate * gradient
        np.testing.assert_allclose(state[key], expected, rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("normalization", ["exact", "stock"])
def test_meta_gradient_against_differences(normalization):
    """Exact with kfsl's normalisation, and wrong with Keras's own."""
    keras.config.set_dtype_policy("float64")
    try:
        exact = normalization == "exact"
        learner = generic(
            small_learner(normalization, steps=2, inner_rate=0.5, require_exact=exact)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    episode, labels = SPEC.random_episode()
    queries = learner.preprocessing(episode["query_images"][0])
    kernel = learner.network.get_layer("block2_conv").kernel

    def meta_loss() -> tf.Tensor:
        state, _ = learner.adapt_task(episode["support_images"][0], episode["support_labels"][0])
        with moments_scope(1):
            weights = [state[key] for key in learner.adapted_network.keys]
            logits, _ = learner.adapted_network(weights, queries, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], logits)
        return tf.reduce_mean(losses)

    with tf.GradientTape() as tape:
        value = meta_loss()
    gradient = tape.gradient(value, kernel.value).numpy()
    direction, start = gradient / np.linalg.norm(gradient), kernel.numpy()

    def loss(step: float) -> float:
        kernel.assign(start + step * direction)
        return float(meta_loss())

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    error = abs(slope / np.linalg.norm(gradient) - 1.0)
    assert (error < 1e-5) == exact, error
    assert exact or error > 1e-2


@pytest.mark.parametrize(
    ("backbone", "arguments", "adapting", "parameters"),
    [
        ({"filters": 32, "bn_scale": False}, {"adapted": ("kernel", "bias")}, 32_645, 32_773),
        ({"filters": 32}, {}, 32_901, 32_901),
        (
            {"image_shape": (28, 28, 1), "strides": 2, "num_pools": 0, "bn_scale": False},
            {"adapted": ("kernel", "bias"), "pooling": "average"},
            111_749,
            111_749 + 256,
        ),
    ],
    ids=["mini-ImageNet", "mini-ImageNet, all", "Omniglot"],
)
def test_published_networks(backbone, arguments, adapting, parameters):
    learner = MAML(Conv4(**{"image_shape": (84, 84, 3), **backbone}), ways=5, **arguments)
    assert count(learner.adapted_network.start({}).values()) == adapting
    assert count(learner.trainable_weights) == parameters


def test_anil_adapts_the_head_alone():
    episode, _ = SPEC.random_episode()
    learner = generic(small_learner(adapted=("head",), steps=2, inner_rate=0.5))
    state = adapted(learner, episode)
    head = learner.network.get_layer("head")
    (kernel_key, bias_key) = learner.adapted_network.keys
    assert set(state) == {kernel_key, bias_key, "support_counts"}
    assert np.max(np.abs(state[kernel_key] - head.kernel.numpy())) > 1e-3
    # The queries' features are the network's own.
    with moments_scope(1):
        maps = learner.backbone(episode["query_images"][0] / 255.0, training=True)
    features = tf.reshape(maps, (SPEC.query_size, -1)).numpy()
    np.testing.assert_allclose(
        learner(episode)["logits"][0],
        features @ state[kernel_key] + state[bias_key],
        rtol=1e-4,
        atol=1e-5,
    )


def test_learned_rates():
    episode, labels = SPEC.random_episode()
    expected = adapted(small_learner(steps=2, inner_rate=0.3), episode)
    for rates, number in (("shared", 1), ("per_tensor", 18)):
        learner = small_learner(steps=2, inner_rate=0.3, rates=rates)
        for key, value in adapted(learner, episode).items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-6)
        (variable,) = learner.weight_parts()["rates"]
        assert variable.shape == (number,)
        learner.compile(keras.optimizers.SGD(0.1))
        learner.train_on_batch(episode, labels)
        assert np.ptp(variable.numpy() - 0.3) > 1e-6 or number == 1
        assert abs(variable.numpy()[-1] - 0.3) > 1e-6
    assert small_learner().weight_parts() == {}


def test_a_class_without_support_images_gets_no_probability():
    episode, _ = EpisodeSpec(2, 2, 2, (8, 8, 1)).random_episode()
    learner = generic(small_learner(steps=2, inner_rate=0.5))
    probabilities = tf.nn.softmax(learner(episode)["logits"]).numpy()
    assert probabilities.shape == (1, 4, 3)
    np.testing.assert_array_equal(probabilities[..., 2], 0.0)
    # Nor does the inner loop know of it: its column of the head stays.
    key = next(key for key in learner.adapted_network.keys if "head_kernel" in key)
    change = adapted(learner, episode)[key] - learner.network.get_layer("head").kernel.numpy()
    np.testing.assert_array_equal(change[:, 2], 0.0)
    assert np.max(np.abs(change[:, :2])) > 1e-3


def test_moments_of_the_support_set_are_not_promised_for_keras_normalisation():
    message = "by the moments that bn_policy names; its layer 'block1_bn' is Keras's Batch"
    for exactness in ({"first_order": True}, {"require_exact": False}):
        with pytest.raises(ValueError, match=message):
            small_learner("stock", bn_policy="support", **exactness)
        assert small_learner("stock", bn_policy="batch", **exactness).transductive


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`rates` must be one of"):
        small_learner(rates="own")
    with pytest.raises(ValueError, match="No weight's path contains 'gain'"):
        small_learner(adapted=("gain",))
    with pytest.raises(ValueError, match="second derivatives of the layer 'block1_bn'"):
        small_learner("stock")
