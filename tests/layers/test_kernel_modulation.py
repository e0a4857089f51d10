"""Factors of kernels: sizes, the outer product written out, rank, and FiLM as a special case."""

import keras
import numpy as np
import pytest

from kfsl.layers.kernel_modulation import KernelModulation

#: The paper's network: kernels, and numbers that the authors' heads give.
PAPER = {
    (3, 3, 3, 32): (32, 27, 32),
    (3, 3, 32, 64): (192, 96, 64),
    (3, 3, 64, 128): (384, 192, 128),
    (3, 3, 128, 256): (768, 384, 256),
}


def vector(size=8, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype("float32")


@pytest.mark.parametrize(("shape", "sizes"), PAPER.items())
def test_sizes_are_the_papers(shape, sizes):
    modulation = KernelModulation(shape)
    assert modulation.sizes == sizes
    assert sizes[0] * sizes[1] == np.prod(shape)
    assert KernelModulation(shape, form="full").sizes == (np.prod(shape), shape[-1])
    modulation.build((128,))
    assert modulation.count_params() == sum(sizes) * 129


def test_a_full_generator_would_give_152_times_the_numbers():
    full = sum(sum(KernelModulation(shape, form="full").sizes) for shape in PAPER)
    factorised = sum(sum(KernelModulation(shape).sizes) for shape in PAPER)
    assert (full, factorised) == (388_416, 2_555)
    assert round(full / factorised, 2) == 152.02


@pytest.mark.parametrize("shape", [(3, 3, 3, 32), (3, 3, 4, 6), (1, 1, 4, 6), (5, 7)])
def test_the_outer_product_written_out(shape):
    modulation = KernelModulation(shape)
    factors, offsets = modulation(vector())
    first, second, third = (
        vector() @ head.kernel.numpy() + head.bias.numpy() for head in modulation.heads
    )
    y, x, inputs, outputs = (1,) * (4 - len(shape)) + shape
    expected = np.zeros((y, x, inputs, outputs))
    for row, column, i, o in np.ndindex(expected.shape):
        if modulation.rows_with_outputs:
            change = first[o * y + row] * second[i * x + column]
        else:
            change = first[o] * second[(i * y + row) * x + column]
        expected[row, column, i, o] = 1.0 + change
    np.testing.assert_allclose(factors, expected.reshape(shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(offsets, third, rtol=1e-5, atol=1e-6)


def test_what_is_added_to_one_has_rank_one_as_a_product():
    modulation = KernelModulation((3, 3, 4, 6))
    factors = np.asarray(modulation(vector())[0]) - 1.0
    # Rows: output channel and y; columns: input channel and x.
    matrix = factors.transpose(3, 0, 2, 1).reshape(18, 12)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values[0] > 0
    assert values[1] < 1e-5 * values[0]
    full = np.asarray(KernelModulation((3, 3, 4, 6), form="full")(vector())[0]) - 1.0
    values = np.linalg.svd(full.transpose(3, 0, 2, 1).reshape(18, 12), compute_uv=False)
    assert values[1] > 0.05 * values[0]


@pytest.mark.parametrize("residual", [True, False])
def test_heads_of_zero_leave_the_kernel_as_it_is(residual):
    modulation = KernelModulation((3, 3, 4, 6), residual=residual)
    modulation.build((8,))
    for weight in modulation.weights:
        weight.assign(np.zeros(weight.shape))
    factors, offsets = modulation(vector())
    np.testing.assert_array_equal(factors, np.full((3, 3, 4, 6), 1.0 if residual else 0.0))
    np.testing.assert_array_equal(offsets, np.zeros(6))


def test_film_of_a_convolution_is_a_special_case():
    """With `M[y, x, i, o] = eta_o - 1`, `eta (W x + b) + gamma` is a convolution."""
    random = np.random.default_rng(0)
    images = random.normal(size=(2, 5, 5, 3)).astype("float32")
    layer = keras.layers.Conv2D(4, 3)
    layer.build(images.shape)
    layer.bias.assign(random.normal(size=4))
    eta, gamma = random.normal(size=(2, 4)).astype("float32")
    modulation = KernelModulation((3, 3, 3, 4), form="full")
    factors = modulation.factors_of(np.broadcast_to(eta - 1.0, (3, 3, 3, 4)).reshape(-1))
    offsets = (eta - 1.0) * layer.bias.numpy() + gamma
    kernel = layer.kernel.numpy() * np.asarray(factors)
    modulated = keras.ops.conv(images, kernel, padding="valid") + layer.bias.numpy() + offsets
    np.testing.assert_allclose(modulated, eta * layer(images) + gamma, rtol=1e-4, atol=1e-5)


def test_without_bias_there_are_no_offsets():
    modulation = KernelModulation((3, 3, 4, 6), use_bias=False)
    factors, offsets = modulation(vector())
    assert factors.shape == (3, 3, 4, 6)
    assert offsets is None


def test_config_round_trip():
    modulation = KernelModulation((3, 3, 4, 6), use_bias=False, form="full", residual=False)
    copy = KernelModulation.from_config(modulation.get_config())
    assert copy.get_config() == modulation.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"form": "half"}, "form must be one of"), ({"kernel_shape": (3, 3, 3, 4, 4)}, "A kernel is")],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        KernelModulation(**{"kernel_shape": (3, 3, 4, 6), **arguments})
