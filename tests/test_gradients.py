"""The inner loop and the meta-gradient, in float64, against mathematics and finite differences."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.analysis.second_order import TOLERANCE, second_order_error
from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.gradients import MOST_UNROLLED, call_with, inner_loop, starting_weights, value_and_grad
from kfsl.layers.cosine import CosineSimilarity
from kfsl.layers.film import FiLM
from kfsl.layers.gradient_modulation import GradientModulation
from kfsl.layers.group_normalization import GroupNormalization
from kfsl.layers.layer_normalization import LayerNormalization
from kfsl.layers.normalization import BatchNormalization
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.spatial_task_attention import SpatialTaskAttention
from kfsl.learners.maml import MAML
from kfsl.update_rules.adam import Adam
from kfsl.update_rules.modulated import Modulated
from kfsl.update_rules.sgd import SGD
from tests.refusals import CHECKOUT

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


RULES = {
    "sgd": lambda: SGD(RATE),
    "adam": lambda: Adam(0.1),
    "modulated, paper": lambda: Modulated(lambda v: [1 + v], 0.1, 2, "paper"),
    "modulated, code": lambda: Modulated(lambda v: [1 + v], 0.1, 2, "code"),
}


@pytest.mark.parametrize("make_rule", RULES.values(), ids=list(RULES))
def test_called_steps_are_the_steps(make_rule):
    """With mini-batches and noise, which depend on the step."""
    points = tf.constant(generator(1).normal(size=(3, 2)))

    def loss(weights, step):
        return tf.reduce_sum(tf.square(tf.gather(points, step) - weights[0]) ** 2)

    def adapted(differentiated):
        weights, losses = inner_loop(
            loss, [tf.constant(generator(2).normal(size=2))], make_rule(), 3,
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


# === Clipping and noise ===


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


# === Every layer ===

MAPS, VECTORS = (3, 6, 6, 4), (6, 5)
EXACT = {
    "BatchNormalization": (BatchNormalization, MAPS),
    "LayerNormalization": (LayerNormalization, VECTORS),
    "GroupNormalization": (lambda **kw: GroupNormalization(2, **kw), MAPS),
    "PixelNormalization": (PixelNormalization, MAPS),
    "Conv2D": (lambda **kw: keras.layers.Conv2D(3, 3, padding="same", **kw), MAPS),
    "strided Conv2D": (lambda **kw: keras.layers.Conv2D(3, 3, strides=2, **kw), MAPS),
    "Dense": (lambda **kw: keras.layers.Dense(3, **kw), VECTORS),
    "MaxPooling2D": (keras.layers.MaxPooling2D, MAPS),
    "AveragePooling2D": (lambda **kw: keras.layers.AveragePooling2D(2, **kw), MAPS),
    "GlobalAveragePooling2D": (keras.layers.GlobalAveragePooling2D, MAPS),
    "Flatten": (keras.layers.Flatten, MAPS),
    "Dropout": (lambda **kw: keras.layers.Dropout(0.3, **kw), VECTORS),
}
EXACT |= {
    name: (lambda name=name, **kw: keras.layers.Activation(name, **kw), VECTORS)
    for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "softmax", "softplus")
}
WRONG = {
    "BatchNormalization": (keras.layers.BatchNormalization, MAPS),
    "LayerNormalization": (keras.layers.LayerNormalization, VECTORS),
    "GroupNormalization": (lambda **kw: keras.layers.GroupNormalization(2, **kw), MAPS),
}


def layer_error(make, shape):
    keras.utils.set_random_seed(0)
    layer, inputs = make(dtype="float64"), generator().normal(size=shape)
    layer(inputs)
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(weight + 0.3 * generator(i).normal(size=weight.shape))
    return second_order_error(layer, inputs)


@pytest.mark.parametrize(("make", "shape"), EXACT.values(), ids=list(EXACT))
def test_second_derivatives_of_layers_in_use(make, shape):
    assert layer_error(make, shape) < 0.01 * TOLERANCE


@pytest.mark.parametrize(("make", "shape"), WRONG.values(), ids=list(WRONG))
def test_second_derivatives_of_stock_normalisations_are_wrong(make, shape):
    """If this fails, Keras has been mended."""
    assert layer_error(make, shape) > 100 * TOLERANCE


SEVERAL_INPUTS = {
    "CosineSimilarity": (lambda **kw: CosineSimilarity("both", **kw), [(2, 3, 4), (2, 5, 4)]),
    "FiLM": (lambda **kw: FiLM(True, True, **kw), [MAPS, (3, 4), (3, 4)]),
    "GradientModulation": (lambda **kw: GradientModulation((3, 4), 2, **kw), [(2, 5)]),
    "SpatialTaskAttention": (
        lambda **kw: SpatialTaskAttention(3, 3, 3, **kw),
        [(1, 2, 4), (1, 3, 2, 2, 4), (1, 2, 2, 2, 4), (1, 3, 2)],
    ),
    "Gaussian SpatialTaskAttention": (
        lambda **kw: SpatialTaskAttention(3, 3, 3, "gaussian", **kw),
        [(1, 2, 4), (1, 3, 2, 2, 4), (1, 2, 2, 2, 4), (1, 3, 2)],
    ),
}


@pytest.mark.parametrize(("make", "shapes"), SEVERAL_INPUTS.values(), ids=list(SEVERAL_INPUTS))
def test_second_derivatives_of_layers_of_several_inputs(make, shapes):
    keras.utils.set_random_seed(0)
    layer, rng = make(dtype="float64"), generator()
    inputs = [rng.normal(size=shape) for shape in shapes]
    layer(*inputs)
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(weight + 0.3 * generator(i).normal(size=weight.shape))
    assert second_order_error(layer, *inputs) < 0.01 * TOLERANCE


def test_gradients_of_embeddings_are_tensors():
    (found,) = value_and_grad(
        lambda w: tf.reduce_sum(tf.gather(w[0], [0, 2, 2])), [tf.zeros([3, 2])]
    )[1]
    np.testing.assert_array_equal(found, [[1, 1], [0, 0], [2, 2]])


# === In processes of their own ===


def process(*arguments):
    """What `gradients_process.py` prints as its last line, read as JSON."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.gradients_process", *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
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
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    backbone = Conv4(image_shape=(84, 84, 1), filters=8)
    learner = MAML(backbone, ways=2, inner_rate=0.01, steps=MOST_UNROLLED + 1)
    learner.compile("sgd")
    episode, labels = EpisodeSpec(2, 50, 2, (84, 84, 1)).random_episode()
    for _ in range(2):
        logs = learner.train_on_batch(episode, labels, return_dict=True)
        assert np.isfinite(logs["loss"])
