"""The cell of ModGrad, equations 6 to 8."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.gradient_modulation import GradientModulation


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def cell(*shape, columns=5, context=7):
    layer = GradientModulation(shape, columns, dtype="float64")
    layer.build((None, context))
    return layer


def contexts(number=3, size=7):
    return np.random.default_rng(1).normal(size=(number, size))


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def column_by_hand(layer, context, sister):
    (w1, b1), (w2, b2) = (x[sister].get_weights() for x in (layer.hidden, layer.outputs))
    output = np.maximum(context @ w1 + b1, 0) @ w2 + b2
    u, size = layer.columns, layer.sizes[sister]
    attention = softmax(output[:u])
    return sum(attention[k] * output[u + k * size : u + (k + 1) * size] for k in range(u))


def test_convolution_entry_by_entry():
    layer = cell(3, 3, 2, 4)
    for context, factors in zip(contexts(), layer(contexts()).numpy(), strict=True):
        p, q = (column_by_hand(layer, context, sister) for sister in (0, 1))
        assert (p.size, q.size) == (4 * 3, 2 * 3)
        for kh, kw, i, o in np.ndindex(3, 3, 2, 4):
            # The entry's place in a kernel [out, in, height, width], row by row.
            flat = 18 * o + 9 * i + 3 * kh + kw
            expected = max(p[flat // 6] * q[flat % 6], 0)
            np.testing.assert_allclose(factors[kh, kw, i, o], expected, atol=1e-12)


def test_dense_kernel_and_vector():
    kernel, bias = cell(3, 5), cell(5)
    for row, context in enumerate(contexts()):
        p, q = (column_by_hand(kernel, context, sister) for sister in (0, 1))
        expected = np.maximum(np.outer(q, p), 0)
        np.testing.assert_allclose(kernel(contexts())[row], expected, atol=1e-12)
        expected = np.maximum(column_by_hand(bias, context, 0), 0)
        np.testing.assert_allclose(bias(contexts())[row], expected, atol=1e-12)


@pytest.mark.parametrize("columns", [1, 5, 10])
def test_rank_is_one_before_relu_and_at_most_two_after_it(columns):
    layer = cell(3, 3, 4, 5, columns=columns)
    for sister in (0, 1):  # Both signs in both columns.
        bias = layer.outputs[sister].bias
        bias.assign(np.random.default_rng(sister).normal(size=bias.shape))
    p, q = (layer.mixed_column(contexts(), sister).numpy() for sister in (0, 1))
    outers = np.einsum("ni,nj->nij", p, q)
    for factors, outer in zip(layer(contexts()).numpy(), outers, strict=True):
        matrix = np.transpose(factors, (3, 2, 0, 1)).reshape(15, 12)
        assert np.min(matrix) == 0
        assert np.max(matrix) > 0
        assert np.linalg.matrix_rank(outer) == 1
        assert np.linalg.matrix_rank(matrix) == 2
        np.testing.assert_allclose(matrix, np.maximum(outer, 0), atol=1e-12)


def test_scores_of_a_single_column_have_no_effect():
    layer = cell(2, 3, columns=1)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(contexts()) ** 2)
    for gradient in tape.gradient(total, [x.bias.value for x in layer.outputs]):
        assert gradient[0] == 0
        assert np.any(gradient[1:] != 0)


def test_without_context_the_first_kernels_have_no_effect():
    layer = cell(3, 3, 2, 2)
    none, before = np.zeros((2, 7)), layer(np.zeros((2, 7))).numpy()
    np.testing.assert_array_equal(before[0], before[1])
    with_context = layer(contexts()).numpy()
    for hidden in layer.hidden:
        hidden.kernel.assign(2.0 * hidden.kernel.numpy())
    np.testing.assert_array_equal(layer(none), before)
    assert np.any(layer(contexts()) != with_context)


@pytest.mark.parametrize(
    ("shapes", "context", "columns", "expected"),
    [
        ([(3, 3, 64, 64)], 300, 5, 2 * 244_037),
        ([(64,)], 300, 5, 40_389),
        ([(3, 3, 64, 64), (64,)] * 2, 300, 5, 1_056_926),
        ([(3, 3, 64, 64), (64,)] * 2, 300, 10, 1_844_156),
        ([(128, 128), (128,)], 128, 5, 299_151),
    ],
)
def test_parameters(shapes, context, columns, expected):
    layers = [cell(*shape, columns=columns, context=context) for shape in shapes]
    assert sum(layer.count_params() for layer in layers) == expected


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((3, 5, 2, 4), (12, 10)),
        ((1, 1, 2, 4), (4, 2)),
        ((7, 2, 4), (28, 2)),
        ((2, 3, 5, 2, 4), (24, 10)),
        ((2, 4), (4, 2)),
        ((4,), (4,)),
    ],
)
def test_any_kernel(shape, sizes):
    layer = cell(*shape)
    assert layer.sizes == sizes
    assert layer(contexts()).shape == layer.compute_output_shape((3, 7)) == (3, *shape)


def test_initial_weights_lie_within_one_over_the_root_of_fan_in():
    layer = cell(3, 3, 16, 16, context=100)
    for dense, fan_in in [*((x, 100) for x in layer.hidden), *((x, 48) for x in layer.outputs)]:
        for weight in dense.get_weights():
            bound = fan_in**-0.5
            assert 0.8 * bound < np.max(np.abs(weight)) <= bound
            assert abs(np.std(weight) * np.sqrt(3) / bound - 1) < 0.3  # Uniform, not normal.


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (5, 7), (64,)])
def test_factors_begin_around_the_initial_factor(shape):
    plain = cell(*shape)
    shifted = GradientModulation(shape, initial_factor=0.25, dtype="float64")
    shifted.build((None, 7))
    # Within one over the root of the fan-in of each column, and somewhat more for the context.
    assert np.mean(shifted(contexts())) == pytest.approx(0.25, rel=0.15)
    assert np.mean(plain(contexts())) < 0.1
    columns = shifted.outputs[0].bias.numpy()[5:]
    entry = 0.5 if len(shape) > 1 else 0.25
    assert np.max(np.abs(columns - entry)) <= shifted.sizes[0] ** -0.5
    # Scores are left alone: no column weighs more than it did.
    assert np.max(np.abs(shifted.outputs[0].bias.numpy()[:5])) <= shifted.sizes[0] ** -0.5


def test_factors_cannot_begin_below_zero():
    with pytest.raises(ValueError, match="initial_factor=-1"):
        GradientModulation((3, 5), initial_factor=-1)


def test_config_round_trip():
    layer = cell(3, 3, 2, 4, columns=2)
    copy = GradientModulation.from_config(layer.get_config())
    copy.build((None, 7))
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(contexts()), layer(contexts()))


@pytest.mark.parametrize("arguments", [((),), ((3, 0),), ((3,), 0)])
def test_refusals(arguments):
    with pytest.raises(ValueError, match="received"):
        GradientModulation(*arguments)
