"""Cross-Modulation Networks: the contract, and the paper pair by pair."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl import configurables
from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.learners.matching_network import MatchingNetwork
from tests.support.contract import LearnerContract, generic
from tests.support.pair_reference import (
    matching_logits,
    preprocessed,
    random_modulation,
    reference_features,
)

SHAPE = (16, 16, 1)
SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=SHAPE)


def make(*, num_pools=4, momentum=0.9, filters=4, **arguments):
    backbone = Conv4(SHAPE, filters=filters, num_pools=num_pools, bn_momentum=momentum)
    return CrossModulationNetwork(backbone, **arguments)


class TestCrossModulationNetwork(LearnerContract):
    variants = ({}, {"bn_policy": "support", "aggregation": "sum_attention"})
    spec = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }

    def make_learner(self, **arguments):
        # Two pools: eight pixels become two, and no map is a single number.
        backbone = Conv4((None, None, 1), filters=8, num_pools=2, bn_momentum=0.9)
        return CrossModulationNetwork(backbone, pairs_at_once=18, **arguments)


@pytest.fixture
def double_precision():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def one_episode(seed=3):
    episode, labels = SPEC.random_episode(seed=seed)
    return episode, labels


def reference_logits(learner, episode, training, modulated=(2, 3, 4)):
    supports, queries = (
        preprocessed(learner, episode[key][0]) for key in ("support_images", "query_images")
    )
    pairs = reference_features(learner, supports, queries, modulated, training)
    # kfsl's heads compute in float32, whatever the backbone does.
    pairs = (tf.cast(features, "float64") for features in pairs)
    return matching_logits(*pairs, episode["support_labels"][0], SPEC.ways)


@pytest.mark.parametrize("num_pools", [4, 2], ids=["pools in all blocks", "in two"])
def test_inference_is_that_of_plain_pairs(num_pools):
    keras.utils.set_random_seed(0)
    learner = random_modulation(generic(make(num_pools=num_pools)))
    episode, _ = one_episode()
    expected = reference_logits(learner, episode, training=False)
    for pairs_at_once in (1, 7, 18, 1000):
        learner.pairs_at_once = pairs_at_once
        logits = learner(episode)["logits"][0]
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(logits, expected, atol=2e-6 * scale)


@pytest.mark.parametrize("modulated", [(2, 3, 4), (4,), (1, 3)], ids=str)
def test_training_is_that_of_plain_pairs(modulated, double_precision):
    """Loss, every gradient, and the moving averages."""
    keras.utils.set_random_seed(0)
    names = tuple(f"block{block}_bn" for block in modulated)
    learners = [random_modulation(generic(make(modulated=names))) for _ in range(2)]
    learners[1].set_weights(learners[0].get_weights())
    episode, labels = one_episode()

    def loss_and_gradients(learner, logits):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], logits())
            loss = tf.reduce_mean(tf.cast(losses, "float64"))
        weights = learner.trainable_weights
        return loss, tape.gradient(loss, weights)

    fast, fast_gradients = loss_and_gradients(
        learners[0], lambda: learners[0](episode, training=True)["logits"][0]
    )
    plain, plain_gradients = loss_and_gradients(
        learners[1], lambda: reference_logits(learners[1], episode, True, modulated)
    )
    np.testing.assert_allclose(fast, plain, rtol=1e-6)
    largest = max(np.max(np.abs(gradient)) for gradient in plain_gradients)
    for weight, actual, expected in zip(
        learners[0].trainable_weights, fast_gradients, plain_gradients, strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=2e-6 * largest, err_msg=weight.path)
    for moved, expected in zip(
        learners[0].non_trainable_weights, learners[1].non_trainable_weights, strict=True
    ):
        np.testing.assert_allclose(moved, expected, rtol=1e-9, err_msg=moved.path)


def matching_network_like(learner, **arguments):
    backbone = type(learner.backbone).from_config(learner.backbone.get_config())
    backbone.set_weights(learner.backbone.get_weights())
    return MatchingNetwork(backbone, aggregation="sum_logits", **arguments)


@pytest.mark.parametrize("off", ["scales", "generator"])
@pytest.mark.parametrize("training", [False, True])
def test_without_modulation_it_is_a_matching_network(off, training):
    keras.utils.set_random_seed(0)
    learner = generic(make())
    for modulation in learner.modulations:
        part = modulation.film if off == "scales" else modulation.generator
        for weight in part.weights:
            weight.assign(np.zeros(weight.shape))
    baseline = matching_network_like(learner)
    episode, _ = one_episode()
    expected = baseline(episode, training=training)["logits"]
    actual = learner(episode, training=training)["logits"]
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, atol=(1e-4 if training else 2e-6) * scale)


def test_parameters_and_penalty():
    learner = CrossModulationNetwork(Conv4((84, 84, 3)))

    def count(weights):
        return sum(int(np.prod(weight.shape)) for weight in weights)

    assert count(learner.trainable_weights) == 163_008
    assert count(learner.non_trainable_weights) == 512
    assert count(learner.backbone.trainable_weights) == 113_088
    assert [m.generator.count_params() for m in learner.modulations] == [16_512] * 3
    assert [m.film.count_params() for m in learner.modulations] == [128] * 3
    assert float(sum(learner.losses)) == pytest.approx(0.384, rel=1e-6)
    # 384 numbers, once each, however many streams and chunks use them.
    learner.modulations[0].film.weights[0].assign(np.full(64, -2.0))
    assert float(sum(learner.losses)) == pytest.approx(0.384 + 0.064, rel=1e-6)


def test_the_penalty_is_in_the_loss_of_training():
    learner = make()
    episode, labels = one_episode()
    outputs = learner(episode, training=True)
    task = learner.loss_parts(episode, labels, outputs)["task"]
    loss = learner.compute_loss(episode, labels, outputs)
    assert float(loss - task) == pytest.approx(1e-3 * 2 * 3 * 4, rel=1e-3)


def test_one_shot_makes_both_aggregations_one():
    keras.utils.set_random_seed(0)
    episode, _ = EpisodeSpec(3, 1, 2, SHAPE).random_episode()
    learner = random_modulation(generic(make()))
    # Features large enough for probabilities to differ.
    learner.backbone.get_layer("block4_bn").gamma.assign(np.full(4, 20.0))
    attention = make(aggregation="sum_attention")
    attention.set_weights(learner.get_weights())
    probabilities = [
        tf.nn.softmax(chosen(episode)["logits"][0]).numpy() for chosen in (learner, attention)
    ]
    assert np.ptp(probabilities[0]) > 0.01
    np.testing.assert_allclose(*probabilities, atol=1e-6)


def test_scaling_the_features_of_a_stream():
    """A support vector's length means nothing, a query vector's is a temperature of its own."""
    learner = make()
    rng = np.random.default_rng(0)
    queries, supports = (rng.normal(size=(1, 4, 3, 6)).astype("float32") for _ in range(2))
    one_hot = np.eye(3, dtype="float32")[None]
    logits = learner.pair_logits(queries, supports, one_hot).numpy()
    lengths = np.array([0.5, 2.0, 3.0], "float32")[:, None]
    np.testing.assert_allclose(
        learner.pair_logits(queries, lengths * supports, one_hot), logits, rtol=1e-5
    )
    temperatures = np.array([1.0, 2.0, 3.0, 4.0], "float32")[:, None, None]
    np.testing.assert_allclose(
        learner.pair_logits(temperatures * queries, supports, one_hot),
        temperatures[..., 0] * logits,
        rtol=1e-5,
    )


def test_the_published_rate_falls_by_stairs():
    configurables.parse(
        ["gin/papers/cross_modulation/mini_imagenet_cross_modulation_5way_1shot.gin"]
    )
    # The published rate is halved every 100,000 of up to 1,000,000 updates; here of 24,000.
    schedule = configurables.bound(keras.optimizers.schedules.ExponentialDecay)()
    rates = [float(schedule(step)) for step in (0, 5_999, 6_000, 11_999, 12_000)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4], rtol=1e-6)


def test_permuting_queries_permutes_rows():
    keras.utils.set_random_seed(0)
    learner = random_modulation(generic(make(pairs_at_once=12)))
    episode, _ = one_episode()
    order = np.random.default_rng(0).permutation(SPEC.query_size)
    permuted = {**episode, "query_images": episode["query_images"][:, order]}
    logits = learner(episode)["logits"].numpy()
    np.testing.assert_allclose(learner(permuted)["logits"], logits[:, order], rtol=1e-5)


def test_a_generator_without_cross_rows_modulates_each_image_by_itself():
    keras.utils.set_random_seed(0)
    learner = random_modulation(generic(make()))
    for modulation in learner.modulations:
        kernel = modulation.generator.kernel.numpy()
        kernel[len(kernel) // 2 :] = 0.0
        modulation.generator.kernel.assign(kernel)
    episode, _ = one_episode()
    supports, queries = learner.embed_episode(episode, training=False)
    of_queries, of_supports = learner.pair_features(queries, supports, training=False)
    for axis, features in ((2, of_queries), (1, of_supports)):
        assert np.ptp(features) > 0.1
        first = tf.gather(features, [0], axis=axis)
        np.testing.assert_allclose(features, tf.broadcast_to(first, features.shape), rtol=1e-5)


def test_noise_of_no_size_or_on_no_block_changes_nothing_and_draws_nothing():
    keras.utils.set_random_seed(0)
    learner = generic(make())
    episode, _ = one_episode()
    logits = learner(episode)["logits"]
    for noise, noisy in ((0.0, None), (0.3, ())):
        quiet = make(noise=noise, noisy=noisy)
        quiet.set_weights(learner.get_weights())
        assert all(modulation.draws is None for modulation in quiet.modulations)
        np.testing.assert_array_equal(quiet(episode)["logits"], logits)
        assert not random_operations(quiet, episode)
    noisy = make(noise=0.3, noisy=("block3_bn",))
    noisy.set_weights(learner.get_weights())
    assert random_operations(noisy, episode)
    assert np.max(np.abs(noisy(episode)["logits"] - logits)) > 1e-3


def random_operations(learner, episode):
    graph = tf.function(lambda: learner(episode)["logits"]).get_concrete_function().graph
    functions = graph.as_graph_def().library.function
    names = [op.type for op in graph.get_operations()]
    names += [node.op for function in functions for node in function.node_def]
    return [name for name in names if "Random" in name]


def test_what_depends_on_one_image_is_computed_once_for_it():
    """No convolution up to the first modulated one, and no pooling behind it, sees pairs."""
    episode, _ = one_episode()
    learner = make(pairs_at_once=1000)
    # `embed` ends behind the first modulated layer.
    assert learner.embed(episode["support_images"]).shape == (1, SPEC.support_size, 8, 8, 4)
    graph = tf.function(lambda: learner(episode)["logits"]).get_concrete_function().graph
    images = {
        kind: [op.inputs[0].shape[0] for op in graph.get_operations() if op.type == kind]
        for kind in ("Conv2D", "MaxPool")
    }
    supports, queries = SPEC.support_size, SPEC.query_size
    pairs = supports * queries
    assert images["Conv2D"] == [supports] * 2 + [queries] * 2 + [pairs] * 4
    # Block 1; block 2, largest and smallest; blocks 3 and 4, which do see pairs.
    alone = images["MaxPool"][:6]
    assert sorted(alone) == sorted([supports, queries] + [supports] * 2 + [queries] * 2)
    assert images["MaxPool"][6:] == [pairs] * 8


def test_film_parameters_are_those_of_both_orders():
    keras.utils.set_random_seed(0)
    learner = random_modulation(generic(make()))
    episode, _ = one_episode()
    supports, queries = learner.embed_episode(episode, training=False)
    state = learner.adapt(supports, episode["support_labels"])
    found = learner.film_parameters(state, queries)
    assert list(found) == ["block2_bn", "block3_bn", "block4_bn"]
    of_query, of_support = found["block2_bn"]
    averages = [tf.reduce_mean(maps[0], axis=(1, 2)) for maps in (queries, supports)]
    for first, second, (gamma, _) in ((0, 1, of_query), (1, 0, of_support)):
        # Query 3 with support image 2.
        pair = averages[first][(3, 2)[first]], averages[second][(3, 2)[second]]
        expected, _ = learner.modulations[0].generator(*pair)
        np.testing.assert_allclose(gamma[0, 3, 2], expected, rtol=1e-4)
    with pytest.raises(ValueError, match="bn_policy='support'"):
        make(bn_policy="support").film_parameters(state, queries)
