"""Queries in chunks."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.learners.base.query_chunks import map_queries

QUERIES = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")


@pytest.mark.parametrize("size", [1, 3, 7, 50, tf.constant(3), tf.constant(50)])
def test_chunks_are_as_all_at_once(size):
    lengths = []

    def function(queries):
        lengths.append(queries.shape[1])
        return tf.stack([tf.reduce_sum(queries, -1), queries[..., 0]], axis=-1)

    outputs = map_queries(function, tf.constant(QUERIES), size)
    expected = np.stack([QUERIES.sum(-1), QUERIES[..., 0]], axis=-1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert max(lengths) <= int(size)
    assert len(lengths) == -(-7 // min(int(size), 7))


def test_numbers_that_are_not_known_before_the_call():
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def traced(queries):
        return map_queries(lambda q: 2.0 * q, queries, 3)

    for queries in (QUERIES, QUERIES[:1, :2], QUERIES[:, :0]):
        np.testing.assert_array_equal(traced(queries), 2.0 * queries)
