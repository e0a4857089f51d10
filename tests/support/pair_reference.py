"""Cross-modulation as the paper draws it: pair after pair, whole maps, nothing shared."""

import keras
import numpy as np
import tensorflow as tf


def reference_features(learner, supports, queries, modulated=(2, 3, 4), training=False):
    """Features `[Q, S, ...]` of the queries and of the support images, pair by pair.

    Plain calls of the backbone's layers, one for each stream, on the images of all pairs. In
    training their moments are those of all pairs of a stream, as in the paper's code.

    Args:
        learner: with a `Conv4` of order `bn-activation-pool`.
        supports: float array, `[S, H, W, C]`, preprocessed.
        queries: float array, `[Q, H, W, C]`, preprocessed.
        modulated: blocks that are.
        training: bool.
    """
    number, size = queries.shape[0], supports.shape[0]
    # Query-major: pair t * S + s is of query t and support image s.
    x = tf.tile(supports, [number, 1, 1, 1])
    y = tf.repeat(queries, size, axis=0)
    by_block = dict(zip(sorted(modulated), learner.modulations, strict=True))
    for block in (1, 2, 3, 4):
        convolution, normalization, *after = (
            layer_of(learner.backbone, f"block{block}_{part}")
            for part in ("conv", "bn", "activation", "pool")
        )
        x = normalization(convolution(x), training=training)
        y = normalization(convolution(y), training=training)
        if block in by_block:
            x, y = modulated_maps(by_block[block], x, y), modulated_maps(by_block[block], y, x)
        for layer in after:
            x, y = (layer(maps) if layer is not None else maps for maps in (x, y))
    shape = (number, size, -1)
    return tf.reshape(y, shape), tf.reshape(x, shape)


def layer_of(backbone, name):
    """The layer of that name; None where the backbone leaves it out."""
    return next((layer for layer in backbone.layers if layer.name == name), None)


def modulated_maps(modulation, x, other):
    """Figure 1a and FiLM(x) = (1 + gamma0 gamma) x + beta0 beta, from the raw weights."""
    kernel, bias = (tf.convert_to_tensor(w) for w in modulation.generator.weights)
    gamma_scale, beta_scale = (tf.convert_to_tensor(w) for w in modulation.film.weights)
    joined = tf.nn.relu(tf.reduce_mean(tf.concat([x, other], axis=-1), axis=(1, 2)))
    gamma, beta = tf.split(joined @ kernel + bias, 2, axis=-1)
    factor = 1.0 + gamma_scale * gamma
    return factor[:, None, None] * x + (beta_scale * beta)[:, None, None]


def matching_logits(queries, supports, labels, ways):
    """Equation 2 with the support's norm, summed over the class's images."""
    norms = tf.maximum(tf.norm(supports, axis=-1), 1e-10)
    similarities = tf.reduce_sum(queries * supports, axis=-1) / norms
    return similarities @ tf.one_hot(labels, ways, dtype=similarities.dtype)


def preprocessed(learner, images):
    return tf.cast(learner.preprocessing(images), keras.config.floatx())


def random_modulation(learner, seed=0, size=0.7):
    """Gives generator and scales values of their own, some of them negative."""
    rng = np.random.default_rng(seed)
    for modulation in learner.modulations:
        for weight in modulation.weights:
            weight.assign(rng.normal(0.0, size, weight.shape))
    return learner
