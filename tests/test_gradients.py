"""The inner loop and the meta-gradient, in float64, against mathematics and finite differences."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.gradients import inner_loop, value_and_grad
from kfsl.layers.normalization import BatchNormalization
from kfsl.networks.replaced_weights import call_with, starting_weights
from kfsl.update_rules.sgd import SGD
from tests.support import forked
from tests.support.refusals import CHECKOUT

RATE = 0.2


def generator(seed=0):
    return np.random.default_rng(seed)


def meta_gradient(support_loss, query_loss, weights, steps, rate=RATE, **options):
    """The query loss after inner steps, and its gradient for the weights before them."""

    def outer(weights):
        adapted, _ = inner_loop(support_loss, weights, SGD(rate), steps, **options)
        return query_loss(adapted)

    return value_and_grad(outer, weights)


# === Closed forms ===


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_quadratic(steps):
    """Support loss w'Aw/2 - b'w: w_K = M^K w + ..., M = I - rate A; query loss |w - t|^2 / 2."""
    root = generator().normal(size=(3, 3))
    hessian = root @ root.T / 3
    b, target, start = (generator(i).normal(size=3) for i in (1, 2, 3))

    def support(weights, step):
        (w,) = weights
        return 0.5 * tf.tensordot(w, tf.linalg.matvec(hessian, w), 1) - tf.tensordot(b, w, 1)

    def query(weights):
        return 0.5 * tf.reduce_sum(tf.square(weights[0] - target))

    value, (found,) = meta_gradient(support, query, [tf.constant(start)], steps)
    step = np.eye(3) - RATE * hessian
    adapted = start
    for _ in range(steps):
        adapted = step @ adapted + RATE * b
    expected = np.linalg.matrix_power(step, steps).T @ (adapted - target)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(value, 0.5 * np.sum((adapted - target) ** 2), rtol=1e-12)


def logistic(seed):
    inputs = generator(seed).normal(size=(6, 3))
    labels = generator(seed + 1).integers(0, 2, 6).astype("float64")

    def loss(weights, step=None):
        logits = tf.linalg.matvec(inputs, weights[0])
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))

    def gradient(w):
        return inputs.T @ (1 / (1 + np.exp(-inputs @ w)) - labels) / len(labels)

    def hessian(w):
        p = 1 / (1 + np.exp(-inputs @ w))
        return inputs.T @ (inputs * (p * (1 - p))[:, None]) / len(labels)

    return loss, gradient, hessian


@pytest.mark.parametrize("steps", [1, 3])
def test_logistic_regression(steps):
    """The chain rule by hand: prod_k (I - rate H(w_k)) times the query gradient at w_K."""
    support, gradient, hessian = logistic(0)
    query, query_gradient, _ = logistic(5)
    w = start = generator(9).normal(size=3)
    product = np.eye(3)
    for _ in range(steps):
        product = product @ (np.eye(3) - RATE * hessian(w))
        w = w - RATE * gradient(w)
    _, (found,) = meta_gradient(support, query, [tf.constant(start)], steps)
    np.testing.assert_allclose(found, product @ query_gradient(w), rtol=1e-11)
    _, (first,) = meta_gradient(support, query, [tf.constant(start)], steps, first_order=True)
    np.testing.assert_allclose(first, query_gradient(w), rtol=1e-11)


# === Through a network ===


def network(normalization=BatchNormalization, pooling=keras.layers.MaxPooling2D):
    keras.utils.set_random_seed(0)
    float64 = {"dtype": "float64"}
    images = keras.Input((4, 4, 1), dtype="float64")
    x = keras.layers.Conv2D(2, 3, padding="same", name="conv", **float64)(images)
    x = normalization(name="bn", **float64)(x)
    x = keras.layers.ReLU(**float64)(x)
    x = pooling(2, **float64)(x)
    x = keras.layers.Flatten(**float64)(x)
    model = keras.Model(images, keras.layers.Dense(2, name="head", **float64)(x))
    for i, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.3 * generator(i).normal(size=weight.shape))
    return model


def episode_loss(model, seed, dtype="float64"):
    images = tf.constant(generator(seed).normal(size=(6, 4, 4, 1)), dtype)
    labels = tf.constant([0, 1, 0, 1, 0, 1])

    def loss(weights, step=None):
        logits, _ = call_with(model, dict(enumerate(weights)), images, training=True)
        logits = tf.cast(logits, "float64" if dtype == "float64" else "float32")
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(losses)

    return loss


def difference_error(model, steps):
    """Meta-gradient along random directions, against central differences."""
    support, query = episode_loss(model, 1), episode_loss(model, 2)
    start = starting_weights(model.trainable_variables)

    @tf.function(autograph=False)
    def both(weights):
        return meta_gradient(support, query, weights, steps)

    @tf.function(autograph=False)
    def value(weights):
        return query(inner_loop(support, weights, SGD(RATE), steps)[0])

    _, found = both(start)
    step, rng = 1e-6, generator(7)
    pairs = []
    for _ in range(4):
        directions = [tf.constant(rng.normal(size=w.shape)) for w in start]
        ahead, behind = (
            value([w + h * d for w, d in zip(start, directions, strict=True)])
            for h in (step, -step)
        )
        along = sum(tf.reduce_sum(g * d) for g, d in zip(found, directions, strict=True))
        pairs.append((float(along), float(ahead - behind) / (2 * step)))
    exact, differences = np.transpose(pairs)
    return np.linalg.norm(exact - differences) / np.linalg.norm(differences)


@pytest.mark.parametrize("steps", [1, 5])
def test_meta_gradient_equals_finite_differences(steps):
    assert difference_error(network(), steps) < 1e-6


def test_the_stock_layer_fails_that_test():
    assert difference_error(network(keras.layers.BatchNormalization), 1) > 1e-3


def test_a_bias_before_normalisation_gets_no_meta_gradient():
    model = network()
    start = starting_weights(model.trainable_variables)
    _, found = meta_gradient(episode_loss(model, 1), episode_loss(model, 2), start, 2)
    sizes = {
        variable.path: float(tf.reduce_max(tf.abs(gradient)))
        for variable, gradient in zip(model.trainable_variables, found, strict=True)
    }
    assert sizes["conv/bias"] < 1e-14
    assert sizes["conv/kernel"] > 1e-3


def flat(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


def test_no_steps_are_the_identity():
    model = network()
    start = starting_weights(model.trainable_variables)
    adapted, losses = inner_loop(episode_loss(model, 1), start, SGD(RATE), 0)
    np.testing.assert_array_equal(flat(adapted), flat(start))
    assert losses.shape == (0,)


def test_unrolled_looped_and_tensor_steps_agree(monkeypatch):
    model = network()
    start = starting_weights(model.trainable_variables)
    losses = episode_loss(model, 1), episode_loss(model, 2)
    unrolled = meta_gradient(*losses, start, 3)
    traced = tf.function(lambda: meta_gradient(*losses, start, 3))()
    by_tensor = tf.function(lambda n: meta_gradient(*losses, start, n))(tf.constant(3))
    monkeypatch.setattr("kfsl.gradients.MOST_UNROLLED", 0)
    looped = tf.function(lambda: meta_gradient(*losses, start, 3))()
    for other in (traced, by_tensor, looped):
        np.testing.assert_allclose(other[0], unrolled[0], rtol=1e-12)
        np.testing.assert_allclose(flat(other[1]), flat(unrolled[1]), atol=1e-13)


def test_first_order():
    """It is the query gradient at the adapted weights, and the weights are those of MAML."""
    model = network()
    start = starting_weights(model.trainable_variables)
    support, query = episode_loss(model, 1), episode_loss(model, 2)
    second, _ = inner_loop(support, start, SGD(RATE), 1)
    first, _ = inner_loop(support, start, SGD(RATE), 1, first_order=True)
    np.testing.assert_array_equal(flat(first), flat(second))
    _, by_hand = value_and_grad(query, second)
    _, found = meta_gradient(support, query, start, 1, first_order=True)
    np.testing.assert_allclose(flat(found), flat(by_hand), atol=1e-15)
    _, exact = meta_gradient(support, query, start, 1)
    assert np.max(np.abs(flat(exact) - flat(found))) > 1e-2


def meta_gradient_of_variables(model, dtype, **options):
    support, query = episode_loss(model, 1, dtype), episode_loss(model, 2, dtype)

    @tf.function(autograph=False, **options)
    def compiled():
        start = starting_weights(model.trainable_variables)
        return meta_gradient(support, query, start, 2, 0.1)

    return flat(compiled()[1])


def test_eager_graph_and_xla_agree():
    # XLA on the CPU has no second gradient of maximum pooling in float64.
    model = network(pooling=keras.layers.AveragePooling2D)
    start = starting_weights(model.trainable_variables)
    eager = meta_gradient(episode_loss(model, 1), episode_loss(model, 2), start, 2, 0.1)
    for options in ({}, {"jit_compile": True}):
        found = meta_gradient_of_variables(model, "float64", **options)
        np.testing.assert_allclose(found, flat(eager[1]), atol=1e-12)


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float32", 1e-4), ("mixed_float16", 0.02), ("mixed_bfloat16", 0.1)],
)
def test_precisions_agree(policy, tolerance):
    """As far as each goes; a dense network, in which no maximum is a tie in low precision."""
    found = []
    for dtype in ("float64", policy):
        stack = [
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
            BatchNormalization(dtype=dtype),
            keras.layers.Activation("tanh", dtype=dtype),
            keras.layers.Dense(2, dtype=dtype),
        ]
        model = keras.Sequential([keras.Input((4, 4, 1)), *stack])
        for i, weight in enumerate(model.trainable_weights):
            weight.assign(generator(i).normal(size=weight.shape))
        inputs = "float64" if dtype == "float64" else "float32"
        found.append(meta_gradient_of_variables(model, inputs))
    assert np.linalg.norm(found[1] - found[0]) < tolerance * np.linalg.norm(found[0])


# === In processes of their own ===


def process(*arguments):
    """What `gradients_process.py` prints as its last line, read as JSON."""
    result = forked.python(
        ["-m", "tests.support.gradients_process", *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.long
def test_two_replicas_train_as_one_device():
    found = process("replicas")
    assert found["moved"] > 1e-3
    assert found["difference"] < 1e-5 * found["moved"]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_meta_batch():
    peaks = process("memory")
    growth = peaks["many"] - peaks["few"]
    # The same step under a single tape keeps the maps of all tasks.
    growth_under_one_tape = peaks["many_under_one_tape"] - peaks["few"]
    assert growth_under_one_tape > 200e6, peaks
    assert growth < 0.3 * growth_under_one_tape, peaks


def test_a_long_loop_where_tensorflow_believes_memory_to_be_short():
    """Its graph rewriting would end the second step with AlreadyExistsError."""
    losses = process("long_loop")
    assert len(losses) == 2
    assert np.isfinite(losses).all()
