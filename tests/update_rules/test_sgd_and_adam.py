"""The rules of the inner loop against Keras's optimisers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.gradients import inner_loop
from kfsl.update_rules.adam import Adam

SHAPES = ((3, 2), (4,))


def starting_points():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES]


def loss(weights, step):
    """Neither quadratic nor the same at every step."""
    scale = 1.0 + 0.5 * tf.cast(step, "float32")
    return sum(tf.reduce_sum(tf.sin(scale * w) + 0.1 * w**4) for w in weights)


@pytest.mark.parametrize("beta_1", [0.0, 0.9])
@pytest.mark.parametrize("steps", [4, 9])
def test_adam_is_that_of_keras(beta_1, steps):
    adapted, _ = inner_loop(
        loss, [tf.constant(w) for w in starting_points()], Adam(1e-2, beta_1, 0.99), steps
    )
    variables = [keras.Variable(w) for w in starting_points()]
    optimizer = keras.optimizers.Adam(1e-2, beta_1=beta_1, beta_2=0.99)
    for step in range(steps):
        with tf.GradientTape() as tape:
            value = loss([tf.convert_to_tensor(v) for v in variables], step)
        optimizer.apply(tape.gradient(value, [v.value for v in variables]), variables)
    for weight, variable, start in zip(adapted, variables, starting_points(), strict=True):
        np.testing.assert_allclose(weight, variable.numpy(), rtol=2e-6, atol=2e-6)
        assert np.min(np.abs(weight - start)) > 1e-3


def test_adam_in_closed_form():
    # With beta_1 = 0 and a constant gradient, every step has the length of the rate.
    start = tf.constant([1.0, -2.0], tf.float64)
    (weight,), losses = inner_loop(
        lambda w, step: 3.0 * w[0][0] - 5.0 * w[0][1], [start], Adam(0.1, beta_1=0.0), 7
    )
    np.testing.assert_allclose(weight, [0.3, -1.3], atol=1e-6)
    np.testing.assert_allclose(losses, [13.0 - 0.8 * i for i in range(7)], rtol=1e-6)


def test_adam_starts_from_nothing_and_says_which_decay_is_wrong():
    count, *moments = Adam(0.1).init([tf.ones([2]), tf.ones([3])])
    assert count == 0.0
    assert [m.shape[0] for m in moments] == [2, 3, 2, 3]
    assert all(np.all(m.numpy() == 0) for m in moments)
    with pytest.raises(ValueError, match=r"`beta_2` must lie in \[0, 1\); received beta_2=1.0"):
        Adam(0.1, beta_2=1.0)
