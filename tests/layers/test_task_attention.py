"""Task attention."""

import keras
import numpy as np
import pytest

from kfsl.layers.task_attention import TaskAttention

BATCH, QUERIES, SUPPORTS, CHANNELS, WAYS = 2, 3, 6, 5, 3


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.permutation(np.repeat(np.arange(WAYS), 2)) for _ in range(BATCH)])
    return (
        rng.normal(size=(BATCH, QUERIES, CHANNELS)),
        rng.normal(size=(BATCH, QUERIES, SUPPORTS, CHANNELS)),
        np.eye(WAYS)[labels],
    )


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def test_equations_6_7_and_9_support_by_support():
    layer = TaskAttention(key_dim=4, value_dim=7, dtype="float64")
    queries, supports, one_hot = inputs()
    context, attended, attention = layer(queries, supports, one_hot)
    to_query, to_key, to_value = (
        kernel.numpy().T for kernel in (layer.query_kernel, layer.key_kernel, layer.value_kernel)
    )
    assert to_value.shape == (7, CHANNELS + WAYS)
    for b in range(BATCH):
        for q in range(QUERIES):
            asked = to_query @ queries[b, q]
            keys = to_key @ supports[b, q].T
            expected = softmax(asked @ keys / np.sqrt(4))
            values = to_value @ np.concatenate([supports[b, q], one_hot[b]], axis=1).T
            np.testing.assert_allclose(attention[b, q], expected, rtol=1e-12)
            np.testing.assert_allclose(context[b, q], values @ expected, rtol=1e-11)
            np.testing.assert_allclose(attended[b, q], supports[b, q].T @ expected, rtol=1e-11)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_attention_is_a_distribution_over_supports(policy):
    layer = TaskAttention(dtype=policy)
    context, attended, attention = layer(*inputs())
    assert context.shape == (BATCH, QUERIES, 64)
    assert attended.shape == (BATCH, QUERIES, CHANNELS)
    assert context.dtype == attended.dtype == layer.compute_dtype
    assert np.asarray(attention).dtype == np.float32
    assert np.all(np.asarray(attention) >= 0)
    np.testing.assert_allclose(np.sum(attention, -1), 1.0, rtol=1e-6)


def test_without_query_matrix_it_is_a_mean():
    layer = TaskAttention(key_dim=4, value_dim=7, dtype="float64")
    queries, supports, one_hot = inputs()
    layer(queries, supports, one_hot)
    layer.query_kernel.assign(np.zeros((CHANNELS, 4)))
    context, attended, attention = layer(queries, supports, one_hot)
    np.testing.assert_array_equal(attention, 1 / SUPPORTS)
    labels = np.broadcast_to(one_hot[:, None], (BATCH, QUERIES, SUPPORTS, WAYS))
    values = np.concatenate([supports, labels], axis=-1) @ layer.value_kernel.numpy()
    np.testing.assert_allclose(context, values.mean(2), rtol=1e-12)
    np.testing.assert_allclose(attended, supports.mean(2), rtol=1e-12)


def test_padding_has_no_attention_and_the_rest_is_as_without_it():
    layer = TaskAttention(key_dim=4, value_dim=7, dtype="float64")
    queries, supports, one_hot = inputs()
    padded = np.concatenate([supports, 100 * supports[:, :, :2]], axis=2)
    labels = np.concatenate([one_hot, np.zeros((BATCH, 2, WAYS))], axis=1)
    mask = np.arange(SUPPORTS + 2)[None].repeat(BATCH, 0) < SUPPORTS
    alone = layer(queries, supports, one_hot)
    context, attended, attention = layer(queries, padded, labels, support_mask=mask)
    np.testing.assert_array_equal(attention[..., SUPPORTS:], 0.0)
    np.testing.assert_allclose(attention[..., :SUPPORTS], alone[2], rtol=1e-12)
    np.testing.assert_allclose(context, alone[0], rtol=1e-11)
    np.testing.assert_allclose(attended, alone[1], rtol=1e-11)


def test_scores_beyond_half_precision_stay_finite():
    queries, supports, one_hot = inputs()
    outputs = TaskAttention(dtype="mixed_float16")(1000 * queries, 1000 * supports, one_hot)
    assert all(np.all(np.isfinite(output)) for output in outputs)


def test_config_round_trip():
    layer = TaskAttention(key_dim=4, value_dim=7, name="which", dtype="mixed_bfloat16")
    copy = TaskAttention.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="value_dim=0"):
        TaskAttention(value_dim=0)
    with pytest.raises(ValueError, match="number of classes"):
        TaskAttention().build((None, None, 5), (None, None, None))
