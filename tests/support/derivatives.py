"""Derivatives of a function, up to the third."""

import numpy as np
import tensorflow as tf


def draw(*shape, seed):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def up_to_third_order(function, arguments, *others):
    """What it returns; then gradients of a function of that, of those gradients, and of those."""
    tapes = [tf.GradientTape() for _ in range(3)]
    for tape in tapes:
        tape.__enter__()
        tape.watch(arguments)
    tensors = function(*arguments, *others)
    orders = [tensors]
    for order, tape in enumerate(reversed(tapes)):
        scalar = tf.add_n(
            [
                tf.reduce_sum(tf.sin(2.0 * tensor) * draw(*tensor.shape, seed=10 * order + i))
                for i, tensor in enumerate(tensors)
            ]
        )
        tape.__exit__(None, None, None)
        tensors = tape.gradient(scalar, arguments)
        orders.append(tensors)
    return orders
