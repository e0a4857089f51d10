"""Cosine similarity: three normalisations, invariances, and finite gradients at zero."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.cosine import CosineSimilarity, cosine_similarity, l2_normalize


def vectors(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.fixture
def queries():
    return vectors(0, 2, 7, 16)


@pytest.fixture
def supports():
    return vectors(1, 2, 5, 16)


@pytest.mark.parametrize("normalize", ["support", "query", "both"])
def test_values(queries, supports, normalize):
    expected = np.einsum("bqd,bsd->bqs", queries, supports)
    if normalize in ("query", "both"):
        expected /= np.linalg.norm(queries, axis=-1)[:, :, None]
    if normalize in ("support", "both"):
        expected /= np.linalg.norm(supports, axis=-1)[:, None, :]
    layer = CosineSimilarity(normalize)
    np.testing.assert_allclose(layer(queries, supports), expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(queries.shape, supports.shape) == expected.shape
    unbatched = cosine_similarity(queries[0], supports[0], normalize)
    np.testing.assert_allclose(unbatched, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("normalize", "query_factor", "support_factor"),
    [("support", 3.0, 1.0), ("query", 1.0, 0.5), ("both", 1.0, 1.0)],
)
def test_scaling(queries, supports, normalize, query_factor, support_factor):
    """A normalised side may be scaled at will; the other scales the similarity."""
    layer = CosineSimilarity(normalize)
    expected = query_factor * support_factor * layer(queries, supports)
    np.testing.assert_allclose(layer(3.0 * queries, 0.5 * supports), expected, rtol=1e-5, atol=1e-6)


def test_both_is_one_for_a_vector_with_itself(queries):
    diagonal = np.einsum("bqq->bq", cosine_similarity(queries, queries, "both"))
    np.testing.assert_allclose(diagonal, np.ones((2, 7)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("normalize", ["support", "query", "both"])
def test_zero_vectors_have_zero_similarity_and_zero_gradient(queries, supports, normalize, dtype):
    queries[0, 3] = supports[1, 2] = 0.0
    x, y = tf.cast(queries, dtype), tf.cast(supports, dtype)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, y])
        with tf.GradientTape() as inner:
            inner.watch([x, y])
            similarity = cosine_similarity(x, y, normalize)
            loss = tf.reduce_sum(tf.exp(similarity))
        gradients = inner.gradient(loss, [x, y])
        penalty = tf.add_n([tf.reduce_sum(tf.square(tf.cast(g, "float32"))) for g in gradients])
    assert np.abs(similarity[0, 3]).max() == 0.0
    assert np.abs(similarity[1, :, 2]).max() == 0.0
    for derivative in (*gradients, *outer.gradient(penalty, [x, y])):
        assert np.isfinite(derivative).all()
    # What is normalised has no direction at zero; the other side's gradient is a plain sum.
    if normalize != "support":
        np.testing.assert_array_equal(gradients[0][0, 3], np.zeros(16))
    if normalize != "query":
        np.testing.assert_array_equal(gradients[1][1, 2], np.zeros(16))
    assert np.abs(gradients[0][1]).min() > 0


def test_gradient_of_normalisation_is_tangential():
    x = tf.constant(vectors(0, 6, 8))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(l2_normalize(x) * vectors(1, 6, 8))
    radial = tf.reduce_sum(tape.gradient(loss, x) * x, axis=-1)
    np.testing.assert_allclose(radial, np.zeros(6), atol=1e-5)


def test_mixed_precision_does_not_overflow():
    # The squared norm, 64 * 100**2, is beyond float16.
    large = np.full((1, 3, 64), 100.0, "float16")
    outputs = CosineSimilarity("both", dtype="mixed_float16")(large, large)
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(outputs, np.ones((1, 3, 3)), rtol=1e-3)
    assert CosineSimilarity("both", dtype="float32")(large, large).dtype == "float32"


def test_config_round_trip_and_free_shapes(tmp_path):
    layer = CosineSimilarity("query", epsilon=1e-6, name="cosine")
    assert CosineSimilarity.from_config(layer.get_config()).get_config() == layer.get_config()
    inputs = [keras.Input((None, 8)), keras.Input((None, 8))]
    model = keras.Model(inputs, layer(*inputs))
    assert model.output_shape == (None, None, None)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    arguments = [vectors(0, 2, 3, 8), vectors(1, 2, 5, 8)]
    np.testing.assert_array_equal(loaded(arguments), layer(*arguments))


def test_wrong_arguments(queries, supports):
    with pytest.raises(ValueError, match=r"normalize must be one of .*; received normalize='key'"):
        CosineSimilarity("key")
    with pytest.raises(ValueError, match="epsilon must be at least"):
        cosine_similarity(queries, supports, epsilon=0.0)
