"""Called steps, clipped and noisy gradients of the inner loop."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.gradients import MOST_UNROLLED, inner_loop
from kfsl.update_rules.adam import Adam
from kfsl.update_rules.modulated import Modulated
from kfsl.update_rules.sgd import SGD

RATE = 0.2

RULES = {
    "sgd": lambda: SGD(RATE),
    "adam": lambda: Adam(0.1),
    "modulated, paper": lambda: Modulated(lambda v: [1 + v], 0.1, 2, "paper"),
    "modulated, code": lambda: Modulated(lambda v: [1 + v], 0.1, 2, "code"),
}


@pytest.mark.parametrize("make_rule", RULES.values(), ids=list(RULES))
def test_called_steps_are_the_steps(make_rule):
    """With mini-batches and noise, which depend on the step."""
    points = tf.constant(np.random.default_rng(1).normal(size=(3, 2)))

    def loss(weights, step):
        return tf.reduce_sum(tf.square(tf.gather(points, step) - weights[0]) ** 2)

    def adapted(differentiated):
        weights, losses = inner_loop(
            loss, [tf.constant(np.random.default_rng(2).normal(size=2))], make_rule(), 3,
            noise=0.1, seed=tf.constant([1, 2]), differentiated=differentiated,
        )  # fmt: skip
        return weights[0], losses

    expected, expected_losses = adapted(True)
    found, losses = tf.function(adapted, autograph=False)(False)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)


@pytest.mark.parametrize("steps", [2, MOST_UNROLLED])
def test_python_writes_a_step_down_once_where_no_tape_looks_on(steps):
    """Tracing takes most of the first call, and would grow with the steps."""
    calls = []

    def loss(weights, step):
        calls.append(step)
        return tf.reduce_sum(weights[0] ** 2)

    @tf.function(autograph=False)
    def adapted(weight):
        return inner_loop(loss, [weight], SGD(RATE), steps, differentiated=False)

    (found,), losses = adapted(tf.constant([1.0, 2.0]))
    assert len(calls) == 1
    rate = 1 - 2 * RATE
    np.testing.assert_allclose(found, rate**steps * np.array([1, 2]), rtol=1e-6)
    np.testing.assert_allclose(losses, 5 * rate ** (2 * np.arange(steps)), rtol=1e-6)


# === Clipping and noise ===


def flat(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


def adapted_by(gradients, steps=1, **options):
    """Weights after steps of size 1 from 0, with a loss of these gradients everywhere."""

    def loss(weights, step):
        return tf.add_n([tf.reduce_sum(w * g) for w, g in zip(weights, gradients, strict=True)])

    start = [tf.zeros_like(gradient) for gradient in gradients]
    return inner_loop(loss, start, SGD(-1.0), steps, **options)[0]


def test_clip():
    (found,) = adapted_by([tf.constant([3.0, -0.5, -9.0])], clip=1.0)
    np.testing.assert_array_equal(found, [1.0, -0.5, -1.0])


def test_noise():
    zeros = [tf.zeros([100, 100]), tf.zeros([100, 100])]
    seed = tf.constant([3, 4])
    noisy = adapted_by(zeros, noise=0.3, seed=seed)
    # The standard error of a deviation over n draws is std / sqrt(2 n).
    assert np.std(noisy[0]) == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(2e4))
    assert abs(np.mean(noisy[0])) < 5 * 0.3 / 100
    np.testing.assert_array_equal(flat(adapted_by(zeros, noise=0.3, seed=seed)), flat(noisy))
    other = adapted_by(zeros, noise=0.3, seed=tf.constant([3, 5]))
    second = [b - a for a, b in zip(noisy, adapted_by(zeros, 2, noise=0.3, seed=seed), strict=True)]
    for draw in (noisy[1], other[0], second[0]):  # Another tensor, seed, step.
        assert abs(np.corrcoef(np.ravel(noisy[0]), np.ravel(draw))[0, 1]) < 0.05
    np.testing.assert_array_equal(flat(adapted_by(zeros, noise=0.0, seed=seed)), 0.0)


def test_noise_needs_a_seed_and_steps_are_not_negative():
    with pytest.raises(ValueError, match=r"noise=0\.1 and no seed"):
        adapted_by([tf.zeros([2])], noise=0.1)
    with pytest.raises(ValueError, match="steps=-1"):
        adapted_by([tf.zeros([2])], steps=-1)
