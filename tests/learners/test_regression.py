"""Gradient learners answer with numbers by the same lines: the contract, and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.mlp import MLP
from kfsl.learners import CAVIA, MAML, MetaSGD, ModGrad, Reptile
from kfsl.objectives import Regression
from kfsl.objectives.regression_spec import RegressionSpec
from tests.support.contract import generic, logits_of
from tests.support.regression_contract import RegressionContract

SPEC = RegressionContract.spec


def network(numbers: int = 2) -> MLP:
    return MLP((numbers,), hidden=(16, 16))


class TestMAML(RegressionContract):
    variants = ({"steps": 2},)
    overfitting_rate = 5e-3
    overfitting_steps = 250

    def make_learner(self, **arguments):
        return MAML(network(), objective=Regression(2), inner_rate=0.1, **arguments)


class TestMetaSGD(RegressionContract):
    overfitting_rate = 5e-3
    overfitting_steps = 250

    def make_learner(self, **arguments):
        return MetaSGD(network(), objective=Regression(2), **arguments)


class TestCAVIA(RegressionContract):
    overfitting_rate = 5e-3
    overfitting_steps = 250

    def make_learner(self, **arguments):
        return CAVIA(
            network(2 + 4), modulated=None, context_size=4, objective=Regression(2), **arguments
        )


class TestModGrad(RegressionContract):
    overfitting_rate = 5e-3
    overfitting_steps = 250

    def make_learner(self, **arguments):
        return ModGrad(
            network(), adapted=("hidden2",), context_size=6, columns=2, initial_factor=1.0,
            objective=Regression(2), **arguments,
        )  # fmt: skip


class TestReptile(RegressionContract):
    variants = ({"train_on": "pooled"},)
    overfitting_rate = 5e-3
    overfitting_steps = 250

    def make_learner(self, **arguments):
        return Reptile(
            network(), objective=Regression(2), steps=3, inner_rate=0.1, inner_optimizer="sgd",
            scale=0.3, **arguments,
        )  # fmt: skip


def linear(rate: float) -> MAML:
    """One linear layer, in double precision."""
    keras.config.set_dtype_policy("float64")
    inputs = keras.Input((3,), dtype="float64")
    identity = keras.Model(inputs, keras.layers.Identity(dtype="float64")(inputs))
    learner = MAML(identity, objective=Regression(2), steps=1, inner_rate=rate)
    return generic(learner)


@pytest.fixture
def double():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("double")
def test_one_step_of_least_squares_in_closed_form():
    """W - rate * 2/(n d) X^T (X W + b - Y), and the bias likewise; then its meta-gradient."""
    rate, learner = 0.3, linear(0.3)
    episode, targets = RegressionSpec(7, 5, (3,), 2).random_episode()
    episode = {key: value.astype("float64") for key, value in episode.items()}
    x, y, z = (episode[key][0] for key in ("support_inputs", "support_targets", "query_inputs"))
    kernel, bias = (weight.numpy() for weight in learner.network.trainable_variables)
    gap = x @ kernel + bias - y
    factor = 2.0 * rate / gap.size
    adapted, moved = kernel - factor * x.T @ gap, bias - factor * gap.sum(axis=0)
    np.testing.assert_allclose(logits_of(learner, episode)[0], z @ adapted + moved, rtol=1e-12)

    learner.compile(keras.optimizers.SGD(1.0))
    _, _, (of_kernel, of_bias) = learner.loss_and_gradients(episode, tf.constant(targets))
    after = z @ adapted + moved - targets[0]
    outer_kernel, outer_bias = z.T @ after, after.sum(axis=0)
    # Through the step: the identity minus the Hessian of least squares.
    ones = np.ones((len(x), 1))
    design = np.concatenate([x, ones], axis=1)
    outer = np.concatenate([outer_kernel, outer_bias[None]], axis=0)
    expected = (np.eye(4) - factor * design.T @ design) @ outer * 2.0 / after.size
    np.testing.assert_allclose(of_kernel, expected[:3], rtol=1e-10)
    np.testing.assert_allclose(of_bias, expected[3], rtol=1e-10)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", ["maml", "cavia", "modgrad"])
def test_meta_gradient_against_finite_differences(kind):
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    arguments = {"objective": Regression(2)}
    numbers = 2 + 3 if kind == "cavia" else 2
    # Smooth activations: a difference over a kink is no derivative.
    backbone = MLP((numbers,), hidden=(5, 5), activation="tanh")
    learner = {
        "maml": lambda: MAML(backbone, steps=2, inner_rate=0.3, **arguments),
        "cavia": lambda: CAVIA(backbone, modulated=None, context_size=3, **arguments),
        "modgrad": lambda: ModGrad(
            backbone, adapted=("hidden2",), context_size=4, columns=2, initial_factor=1.0,
            **arguments,
        ),
    }[kind]()  # fmt: skip
    generic(learner)
    episode, targets = SPEC.random_episode(seed=3)
    episode = {key: value.astype("float64") for key, value in episode.items()}
    targets = targets.astype("float64")
    learner.compile(keras.optimizers.SGD(1.0))
    _, _, gradients = learner.loss_and_gradients(episode, tf.constant(targets))

    def loss() -> float:
        return float(np.mean((logits_of(learner, episode) - targets) ** 2))

    rng, step = np.random.default_rng(0), 1e-5
    for weight, gradient in zip(learner.trainable_weights, gradients, strict=True):
        start, direction = weight.numpy(), rng.normal(size=weight.shape)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1.0, -1.0):
            weight.assign(start + sign * step * direction)
            ends.append(loss())
        weight.assign(start)
        numeric = (ends[0] - ends[1]) / (2 * step)
        exact = float(np.sum(np.asarray(gradient) * direction))
        assert abs(exact - numeric) <= 1e-8 * max(1.0, abs(numeric)), weight.path


def test_modgrad_with_factors_of_one_is_maml():
    keras.utils.set_random_seed(0)
    modgrad = ModGrad(
        network(), adapted=("hidden2",), context_size=4, inner_rate=0.3, objective=Regression(2)
    )
    maml = MAML(network(), adapted=("hidden2",), steps=1, inner_rate=0.3, objective=Regression(2))
    maml.network.set_weights(modgrad.network.get_weights())
    shapes = [variable.shape for variable in modgrad.adapted_network.variables]
    modgrad.modulation = lambda context: [tf.ones(shape) for shape in shapes]
    episode, _ = SPEC.random_episode(seed=2)
    np.testing.assert_allclose(logits_of(modgrad, episode), logits_of(maml, episode), atol=1e-6)


@pytest.mark.parametrize(
    ("learner", "count"),
    [
        (lambda: MAML(MLP((2,)), objective=Regression(3)), 66_819),
        (lambda: CAVIA(MLP((130,)), modulated=None, context_size=128, objective=Regression(3)),
         83_203),
        (lambda: ModGrad(MLP((2,)), adapted=("hidden5",), context_size=128,
                         objective=Regression(3)), 66_819 + 299_151),
    ],
    ids=["maml", "cavia", "modgrad"],
)  # fmt: skip
def test_counts_are_those_of_the_sheet(learner, count):
    assert learner().count_params() == count


def test_a_context_of_zeros_is_where_cavia_begins():
    """Without a rate the network answers as if the context were zero."""
    learner = generic(
        CAVIA(
            network(2 + 4), modulated=None, context_size=4, inner_rate=0.0,
            objective=Regression(2),
        )
    )  # fmt: skip
    episode, _ = SPEC.random_episode()
    queries = episode["query_inputs"][0]
    padded = np.concatenate([queries, np.zeros((len(queries), 4), "float32")], axis=-1)
    head = learner.network.get_layer("head")
    expected = head(learner.backbone(padded))
    np.testing.assert_allclose(logits_of(learner, episode)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CAVIA(network(2), modulated=None, context_size=4, objective=Regression(2)),
         r"context of 4 numbers joins the inputs.*it takes \(2,\)"),
        (lambda: MAML(network(), objective=Regression(2))(
            SPEC.random_episode()[0] | {"query_inputs": np.zeros((1, 5, 3), "float32")}),
         r"takes inputs of shape \(2,\), and those .* are \(3,\).*MLP.image_shape = \(3,\)"),
        # Four of its inputs are the context.
        (lambda: CAVIA(network(6), modulated=None, context_size=4, objective=Regression(2))(
            SPEC.random_episode()[0] | {"query_inputs": np.zeros((1, 5, 3), "float32")}),
         r"takes inputs of shape \(2,\), and those .* are \(3,\).*MLP.image_shape = \(7,\)"),
        (lambda: MAML(network(), objective=Regression(2))({"query_images": np.zeros((1, 1))}),
         "is asked about 'query_inputs', and these episodes have query_images"),
    ],
    ids=["no place", "other inputs", "others beside a context", "images"],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
