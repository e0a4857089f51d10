"""Spatial attention, learned and fixed."""

import keras
import numpy as np
import pytest

from kfsl.layers.fixed_spatial_attention import FixedSpatialAttention
from kfsl.layers.spatial_attention import SpatialAttention

LAYERS = [
    lambda **k: SpatialAttention(key_dim=3, **k),
    lambda **k: FixedSpatialAttention(**k),
    lambda **k: FixedSpatialAttention(sigma=0.25, **k),
]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def inputs(batch=2, queries=3, supports=4, height=5, width=4, channels=6, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(batch, queries, channels)),
        rng.normal(size=(batch, supports, height, width, channels)),
        rng.normal(size=(batch, queries, height, width, channels)),
    )


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def test_equations_3_and_4_location_by_location():
    layer = SpatialAttention(key_dim=3, dtype="float64")
    query, support_maps, query_maps = inputs()
    on_support, on_query = layer(query, support_maps, query_maps)
    to_query, to_key = (kernel.numpy().T for kernel in (layer.query_kernel, layer.key_kernel))
    for b in range(2):
        for q in range(3):
            asked = to_query @ query[b, q]
            for s in range(4):
                keys = support_maps[b, s] @ to_key.T
                expected = softmax(keys @ asked / np.sqrt(3))
                np.testing.assert_allclose(on_support[b, q, s], expected, rtol=1e-12)
            expected = softmax((query_maps[b, q] @ to_key.T) @ asked / np.sqrt(3))
            np.testing.assert_allclose(on_query[b, q], expected, rtol=1e-12)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_attention_is_a_distribution_over_locations(make, policy):
    outputs = make(dtype=policy)(*inputs())
    assert [tuple(output.shape) for output in outputs] == [(2, 3, 4, 5, 4), (2, 3, 5, 4)]
    for attention in map(np.asarray, outputs):
        assert attention.dtype == np.float32
        assert np.all(attention >= 0)
        np.testing.assert_allclose(attention.sum((-1, -2)), 1.0, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["query_kernel", "key_kernel"])
def test_without_one_of_its_matrices_it_is_uniform(kernel):
    layer = SpatialAttention(key_dim=3)
    layer(*inputs())
    assert np.ptp(layer(*inputs())[0]) > 0.01
    getattr(layer, kernel).assign(np.zeros((6, 3)))
    for attention in layer(*inputs()):
        np.testing.assert_array_equal(attention, np.float32(1 / 20))


@pytest.mark.parametrize("make", LAYERS)
def test_one_location_has_all_attention(make):
    for attention in make()(*inputs(height=1, width=1)):
        np.testing.assert_array_equal(attention, 1.0)


def test_attention_follows_its_locations():
    layer = SpatialAttention(key_dim=3, dtype="float64")
    query, support_maps, query_maps = inputs()
    before, on_query = layer(query, support_maps, query_maps)
    order = np.random.default_rng(1).permutation(20)
    permuted = support_maps.copy()
    permuted[:, 1] = support_maps[:, 1].reshape(2, 20, 6)[:, order].reshape(2, 5, 4, 6)
    after, on_query_after = layer(query, permuted, query_maps)
    expected = np.array(before)
    expected[:, :, 1] = expected[:, :, 1].reshape(2, 3, 20)[..., order].reshape(2, 3, 5, 4)
    np.testing.assert_allclose(after, expected, rtol=1e-12)
    np.testing.assert_allclose(on_query_after, on_query, rtol=1e-12)


def test_scores_beyond_half_precision_stay_finite():
    query, support_maps, query_maps = inputs()
    layer = SpatialAttention(key_dim=3, dtype="mixed_float16")
    on_support, _ = layer(1000 * query, 1000 * support_maps, query_maps)
    np.testing.assert_allclose(np.sum(on_support, (-1, -2)), 1.0, rtol=1e-6)


def test_gaussian_has_its_width():
    # On a 5x7 map sigma is a quarter of 5: exp(-d^2 / (2 * 1.25^2)) at d from the centre (2, 3).
    query, support_maps, query_maps = inputs(height=5, width=7)
    _, attention = FixedSpatialAttention(sigma=0.25)(query, support_maps, query_maps)
    row, column = np.mgrid[:5, :7]
    expected = np.exp(-((row - 2) ** 2 + (column - 3) ** 2) / (2 * 1.25**2))
    np.testing.assert_allclose(attention[1, 2], expected / expected.sum(), rtol=1e-5)


def test_any_map_size_in_one_graph():
    layer = SpatialAttention(key_dim=3)
    fixed = FixedSpatialAttention(sigma=0.25)
    for attend in (layer, fixed):
        query = keras.Input((None, 6))
        maps = [keras.Input((None, None, None, 6)) for _ in range(2)]
        model = keras.Model([query, *maps], attend(query, *maps))
        for size in (3, 6):
            values = inputs(height=size, width=size + 1)
            for actual, expected in zip(model(values), attend(*values), strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("make", LAYERS)
def test_config_round_trip(make):
    layer = make(name="where", dtype="mixed_float16")
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="key_dim=0"):
        SpatialAttention(key_dim=0)
    with pytest.raises(ValueError, match="sigma=-1"):
        FixedSpatialAttention(sigma=-1)
