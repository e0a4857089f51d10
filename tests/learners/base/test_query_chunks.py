"""Queries in chunks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.base.query_chunks import map_queries
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.learners.cross_modulation_prototypical_network import CrossModulationPrototypicalNetwork

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


@pytest.mark.parametrize("learner", [CrossModulationNetwork, CrossModulationPrototypicalNetwork])
def test_in_double_precision(learner):
    keras.config.set_dtype_policy("float64")
    try:
        backbone = Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2)
        whole, in_chunks = (learner(backbone, pairs_at_once=pairs) for pairs in (1000, 6))
    finally:
        keras.config.set_dtype_policy("float32")
    weights = zip(in_chunks.weights, whole.weights, strict=True)
    for weight, value in weights:
        weight.assign(value)
    episode, _ = EpisodeSpec(3, 1, 4, (8, 8, 1)).random_episode()
    expected, found = (np.array(each(episode)["logits"]) for each in (whole, in_chunks))
    assert expected.dtype == found.dtype == "float64"
    np.testing.assert_allclose(found, expected, rtol=1e-12)
