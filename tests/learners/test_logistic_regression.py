"""Logistic regression on frozen features."""

import numpy as np
import pytest
from scipy import optimize, special

from kfsl.learners.base.multinomial import TOLERANCE, multinomial_weights
from kfsl.learners.logistic_regression import LogisticRegression
from tests.support.backbones import two_blocks
from tests.support.frozen_contract import FrozenLearnerContract


def make(**arguments):
    return LogisticRegression(two_blocks((None, None, 1), filters=8), **arguments)


class TestLogisticRegression(FrozenLearnerContract):
    variants = ({"penalty": 0.1}, {"penalty": 1e-3, "unit_norm": False, "center_images": 0})
    # Of weights that an iteration found.
    tolerance = 1e-4

    def make_learner(self, **arguments):
        return make(**arguments)


def minimised(vectors, one_hot, penalty):
    """The minimum by SciPy, in double precision."""
    size, ways = vectors.shape[1], one_hot.shape[1]

    def loss(flat):
        weights, biases = flat[: size * ways].reshape(size, ways), flat[size * ways :]
        logits = vectors @ weights + biases
        errors = special.softmax(logits, 1) - one_hot
        value = (special.logsumexp(logits, 1) - (logits * one_hot).sum(1)).sum()
        gradient = [(vectors.T @ errors + penalty * weights).ravel(), errors.sum(0)]
        return value + penalty / 2 * (weights**2).sum(), np.concatenate(gradient)

    options = {"maxiter": 20000, "maxfun": 100000, "ftol": 1e-15, "gtol": 1e-10}
    start = np.zeros((size + 1) * ways)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return found[: size * ways].reshape(size, ways), found[size * ways :]


@pytest.mark.parametrize("penalty", [1.0, 0.1, 0.01])
@pytest.mark.parametrize(("samples", "size", "ways"), [(15, 6, 3), (25, 64, 5)])
def test_it_is_the_minimum(penalty, samples, size, ways):
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % ways
    vectors = np.abs(rng.normal(size=(samples, size))) + 0.5 * rng.normal(size=(ways, size))[labels]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one_hot = np.eye(ways)[labels]
    weights, biases, left = multinomial_weights(
        vectors[None].astype("float32"), one_hot[None].astype("float32"), penalty
    )
    assert left[0] <= TOLERANCE
    best, best_biases = minimised(vectors, one_hot, penalty)
    expected = special.softmax(vectors @ best + best_biases, 1)
    assert np.ptp(expected) > 0.1
    found = special.softmax(vectors @ weights[0].numpy() + biases[0].numpy(), 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(weights[0], best, atol=2e-3 * np.abs(best).max())


def test_too_few_steps_say_so():
    rng = np.random.default_rng(0)
    vectors, one_hot = rng.normal(size=(1, 9, 4)), np.eye(3)[None, np.arange(9) % 3]
    _, _, left = multinomial_weights(vectors, one_hot, 0.01, most_steps=3)
    assert left[0] > 100 * TOLERANCE


@pytest.mark.parametrize("arguments", [{"penalty": 0.0}, {"most_steps": 0}])
def test_wrong_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        make(**arguments)
