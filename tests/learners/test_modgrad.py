"""ModGrad keeps the contract of learners, and what its fact sheet says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.gradients import InnerLoss
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.maml import MAML
from kfsl.learners.modgrad import ModGrad
from kfsl.objectives.classification import Classification
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def modgrad(**arguments) -> ModGrad:
    backbone = Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2, bn_momentum=0.5)
    arguments = {"context_size": 6, "inner_rate": 5.0, **arguments}
    return ModGrad(backbone, ways=3, **arguments)


class TestModGrad(LearnerContract):
    variants = (
        {},
        {"columns": 2, "bn_policy": "support", "adapted": ("block2_conv/",), "initial_factor": 0.5},
    )
    spec = SPEC
    zero_gradients = {
        # The mean of a batch takes away whatever a bias adds before it.
        **{f"block{i}_conv/bias": "normalisation takes constants away" for i in range(1, 5)},
        # So there is no gradient that the bias's cell could modulate.
        **{f"block{i}_conv_bias": "modulates a gradient that is zero" for i in range(1, 5)},
    }

    def make_learner(self, **arguments) -> ModGrad:
        backbone = two_blocks((8, 8, 1), filters=4, bn_momentum=0.5)
        return ModGrad(backbone, ways=3, **{"context_size": 8, "inner_rate": 5.0, **arguments})


def assert_equal(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.fixture
def double_precision():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def adapted_by(learner, seed=1):
    episode, _ = SPEC.random_episode(seed=seed)
    return learner.adapt(episode["support_images"], episode["support_labels"])


@pytest.mark.parametrize("adapted", [("",), ("block3_conv/", "block4_conv/")])
def test_factors_of_one_are_maml(adapted, double_precision, monkeypatch):
    learner = generic(modgrad(adapted=adapted, steps=2, inner_rate=0.1))
    maml = MAML(learner.backbone, ways=3, adapted=adapted, steps=2, inner_rate=0.1)
    maml.network.set_weights(learner.network.get_weights())
    shapes = [tensor.shape for tensor in learner.adapted_network.start({}).values()]
    monkeypatch.setattr(learner, "modulation", lambda v: [tf.ones(s, "float64") for s in shapes])
    expected, state = adapted_by(maml), adapted_by(learner)
    assert list(state) == list(expected)
    assert_equal(state.values(), expected.values())


def test_factors_of_zero_leave_the_network_alone(double_precision):
    learner = generic(modgrad())
    for layer in learner.generator.layers[1:]:
        for output in layer.outputs:
            output.kernel.assign(tf.zeros_like(output.kernel))
            output.bias.assign(tf.zeros_like(output.bias))
    episode, _ = SPEC.random_episode()
    without = learner.adapt(episode["support_images"], episode["support_labels"], steps=0)
    assert_equal(adapted_by(learner, seed=0).values(), without.values())
    plain = learner.infer(without, episode["query_images"])["logits"]
    np.testing.assert_array_equal(learner(episode)["logits"], plain)


def context_of(learner, seed):
    """The context of a task, and the loss as a function of it."""
    episode, _ = SPEC.random_episode(seed=seed)
    images = learner.preprocessing(episode["support_images"][0])
    labels = episode["support_labels"][0]
    counts = tf.ones((3,))
    inner = InnerLoss(
        learner.support_loss(images, labels, None, {"support_counts": counts}, None, False)
    )
    weights, rule = list(learner.adapted_network.start({}).values()), learner.update_rule()
    _, gradients = inner.value_and_grad(weights)

    def loss(context):
        return inner(rule.moved(weights, gradients, tf.constant(context))).numpy()

    context, _ = rule.refined(inner, weights, gradients, tf.zeros((6,), "float64"))
    return context.numpy(), loss


def test_the_context_is_the_negative_gradient_at_zero(double_precision):
    learner = generic(modgrad())
    context, loss = context_of(learner, seed=1)
    differences = [(loss(1e-5 * d) - loss(-1e-5 * d)) / 2e-5 for d in np.eye(6)]
    assert context.shape == (6,)
    assert np.linalg.norm(context) > 1e-4
    np.testing.assert_allclose(context, np.negative(differences), rtol=1e-4, atol=1e-8)


def test_tasks_have_contexts_and_factors_of_their_own(double_precision):
    learner = generic(modgrad())
    (one, _), (other, _) = (context_of(learner, seed) for seed in (1, 2))
    first, second = learner.modulation(one), learner.modulation(other)
    for kernel in (0, 2):
        assert np.max(np.abs(first[kernel] - second[kernel])) > 1e-6


@pytest.mark.parametrize("first_order", [False, True])
def test_meta_gradient_by_finite_differences(first_order, double_precision):
    # To the first order alone it is another one.
    learner = generic(modgrad(first_order=first_order))
    episode, labels = SPEC.random_episode(seed=3)

    def loss():
        # Not the learner's own, which is float32.
        state = learner.adapt(episode["support_images"], episode["support_labels"])
        weights = [state[key][0] for key in learner.adapted_network.keys]
        images = learner.preprocessing(episode["query_images"][0])
        with moments_scope(1):
            logits, _ = learner.adapted_network(weights, images, training=True)
        return Classification().loss(labels[0], logits)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, learner.trainable_weights)
    network = learner.network.trainable_weights
    for weights, exact in ((network, not first_order), (learner.generator.weights, True)):
        chosen = {id(weight) for weight in weights}
        predicted = measured = 0.0
        rng = np.random.default_rng(0)
        directions = [rng.normal(size=w.shape) for w in weights]
        values = [weight.numpy() for weight in weights]
        for weight, gradient in zip(learner.trainable_weights, gradients, strict=True):
            if id(weight) in chosen:
                index = next(i for i, w in enumerate(weights) if w is weight)
                predicted += np.sum(gradient.numpy() * directions[index])
        for sign in (1, -1):
            for weight, at, direction in zip(weights, values, directions, strict=True):
                weight.assign(at + sign * 1e-6 * direction)
            measured += sign * loss().numpy() / 2e-6
        for weight, at in zip(weights, values, strict=True):
            weight.assign(at)
        error = abs(predicted - measured) / abs(measured)
        assert (error < 1e-4) if exact else (error > 1e-2), (predicted, measured)


def test_parameters_and_adapted_weights_of_the_paper():
    learner = ModGrad(Conv4(image_shape=(84, 84, 3)), ways=5)
    assert learner.network.count_params() - 512 == 121_093  # Without the moving averages.
    assert sum(int(np.prod(w.shape)) for w in learner.weight_parts()["generator"]) == 1_056_926
    assert learner.adapted_network.positions == (8, 9, 12, 13)
    names = [f"block{i}_conv_{kind}" for i in (3, 4) for kind in ("kernel", "bias")]
    assert [key.split("_", 1)[1] for key in learner.adapted_network.keys] == names


def test_one_optimiser_each():
    learner = modgrad()
    adam, of_generator = keras.optimizers.Adam(), keras.optimizers.Adam()
    learner.compile(adam, part_optimizers={"generator": of_generator})
    learner.build_optimizers()
    sizes = [len(learner.network.trainable_variables), len(learner.generator.trainable_variables)]
    assert [len(o._trainable_variables) for o in (adam, of_generator)] == sizes


def test_a_single_adapted_weight():
    learner = modgrad(adapted=("head/kernel",))
    assert [factors.shape for factors in learner.modulation(tf.zeros((6,)))] == [(16, 3)]


@pytest.mark.parametrize(
    "arguments", [{"form": "both"}, {"context_size": 0}, {"columns": 0}, {"adapted": ("none",)}]
)
def test_refusals(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        modgrad(**arguments)


def test_a_network_without_two_convolutions():
    images = keras.Input((8, 8, 1))
    backbone = keras.Model(images, keras.layers.Conv2D(2, 3)(images))
    with pytest.raises(ValueError, match="last two convolutions"):
        ModGrad(backbone, ways=3)
