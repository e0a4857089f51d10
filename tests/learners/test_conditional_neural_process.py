"""Conditional neural processes keep the contract, and do what their equations say."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.mlp import MLP
from kfsl.learners.conditional_neural_process import ConditionalNeuralProcess
from kfsl.objectives import Regression
from tests.support.contract import generic, logits_of
from tests.support.regression_contract import RegressionContract


def learner(loss="likelihood", **arguments):
    encoder, decoder = MLP((4,), hidden=(16, 8)), MLP((2 + 8,), hidden=(16, 16))
    return ConditionalNeuralProcess(
        encoder, decoder, loss=loss, objective=Regression(2), **arguments
    )


class TestConditionalNeuralProcess(RegressionContract):
    variants = ({}, {"loss": "squared_error"})
    overfitting_rate = 5e-3

    def make_learner(self, **arguments):
        return learner(**arguments)

    def test_overfits_one_episode(self, learner):
        """By its error: a likelihood has no zero, and may be negative."""
        episode, targets = self.noise_episode()
        learner.compile(keras.optimizers.Adam(self.overfitting_rate))
        before = np.mean((logits_of(learner, episode) - targets) ** 2)
        for _ in range(300):
            learner.train_on_batch(episode, targets)
        after = np.mean((logits_of(learner, episode) - targets) ** 2)
        assert after < 0.02 * before


def test_likelihood_is_that_of_a_normal_distribution():
    process = generic(learner())
    episode, targets = RegressionContract.spec.random_episode(meta_batch=2)
    outputs = process(episode)
    means, deviations = (np.asarray(outputs[key]) for key in ("predictions", "deviations"))
    assert deviations.min() > 0.1
    densities = np.exp(-0.5 * ((targets - means) / deviations) ** 2) / deviations
    expected = -np.mean(np.log(densities))
    np.testing.assert_allclose(
        float(process.compute_loss(episode, targets, outputs)), expected, rtol=1e-5
    )


def test_the_state_is_the_mean_of_what_the_encoder_says_of_each_point():
    process = generic(learner())
    episode, _ = RegressionContract.spec.random_episode(meta_batch=2)
    state = process.adapt(episode["support_inputs"], episode["support_targets"])
    points = np.concatenate([episode["support_inputs"], episode["support_targets"]], axis=-1)
    expected = [np.mean(process.encoder(task), axis=0) for task in points]
    np.testing.assert_allclose(state["representation"], expected, rtol=1e-5, atol=1e-6)


def test_any_number_of_points():
    process = generic(learner())
    episode, _ = RegressionContract.spec.random_episode()
    twice = {
        key: np.concatenate([value, value], axis=1) if key.startswith("support") else value
        for key, value in episode.items()
    }
    np.testing.assert_allclose(logits_of(process, twice), logits_of(process, episode), atol=1e-6)


@pytest.mark.parametrize(
    ("decoder", "objective", "message"),
    [
        (MLP((9,)), Regression(2), r"inputs of shape \(136,\), and it takes \(9,\).*MLP.image_sh"),
        (MLP((10,)), None, "answers with numbers.*Regression"),
    ],
)
def test_refusals(decoder, objective, message):
    encoder = MLP((10,)) if objective else MLP((4,))
    with pytest.raises(ValueError, match=message):
        ConditionalNeuralProcess(encoder, decoder, objective=objective)


def test_inputs_of_another_length_are_told_for_both_networks():
    episode, _ = RegressionContract.spec.random_episode()
    episode |= {name: np.zeros((1, 5, 3), "float32") for name in ("query_inputs", "support_inputs")}
    message = r"are \(3,\).* encoder/MLP.image_shape = \(5,\), decoder/MLP.image_shape = \(11,\)"
    with pytest.raises(ValueError, match=message):
        learner()(episode)
    networks = MLP((5,), hidden=(16, 8)), MLP((11,), hidden=(16, 16))
    process = ConditionalNeuralProcess(*networks, objective=Regression(2))
    episode["support_targets"] = np.zeros((1, 5, 2), "float32")
    episode.pop("support_mask", None)
    assert process(episode)["predictions"].shape == (1, 5, 2)


def test_metric_learners_have_no_numbers():
    from kfsl.learners import PrototypicalNetwork

    with pytest.raises(ValueError, match="PrototypicalNetwork tells classes apart"):
        PrototypicalNetwork(Conv4((8, 8, 1), filters=4, num_pools=2), objective=Regression(1))
