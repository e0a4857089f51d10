"""Few classes of many: another way to the same distribution."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.samplers import draws

SIZE, K = draws.MANY_CLASSES, 5


def drawn(size, k, count):
    @tf.function(autograph=False)
    def all_of_them():
        seeds = tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], axis=1)
        return tf.map_fn(lambda seed: draws.few_classes(seed, size, k), seeds, tf.int32)

    return all_of_them().numpy()


def test_they_differ_and_every_class_is_as_likely_at_every_place():
    found = drawn(SIZE, K, 4000)
    assert all(len(set(row)) == K for row in found.tolist())
    for place in range(K):
        counts, _ = np.histogram(found[:, place], bins=20, range=(0, SIZE))
        # 19 degrees of freedom: 43.8 is passed once in a thousand times.
        assert np.sum((counts - 200.0) ** 2 / 200.0) < 43.8


def test_a_class_that_was_drawn_is_not_drawn_again():
    """With replacement the 64 of 2^18 would be alike in one of 130 draws."""
    size, k = 64 * 64 * 64, 64
    found = drawn(size, k, 3000)
    assert all(len(set(row)) == k for row in found.tolist())
    with_replacement = np.random.default_rng(0).integers(0, size, found.shape)
    assert any(len(set(row)) < k for row in with_replacement.tolist())


@pytest.mark.parametrize(("size", "k"), [(SIZE - 1, K), (SIZE, 17)])
def test_of_fewer_classes_the_draws_are_what_they_were(size, k):
    seed = tf.constant([3, 4], tf.int64)
    expected = draws.random_order(seed, [size], k)
    np.testing.assert_array_equal(draws.few_classes(seed, size, k), expected)


def test_a_draw_is_a_function_of_its_seed():
    one, other = (draws.few_classes(tf.constant([1, n], tf.int64), SIZE, K) for n in (0, 1))
    np.testing.assert_array_equal(draws.few_classes(tf.constant([1, 0], tf.int64), SIZE, K), one)
    assert set(one.numpy()) != set(other.numpy())
