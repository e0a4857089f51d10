"""Labels that do not fit, where a graph cannot refuse them: what comes of them is no number."""

from collections.abc import Mapping

import tensorflow as tf

from kfsl.learners.base.learner import Learner


def usable_labels(
    learner: Learner, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels that no method fails at, and whether they are those that were given.

    ONNX and LiteRT have no assertions: a wrong label would be an image that belongs to no class,
    and nobody would notice.

    Args:
        learner: `Learner` of classes.
        images: tensor, `[S, ...]`, or features.
        labels: int32 tensor, `[S]`.

    Returns:
        The labels, int32 `[S]`, moved into the range of classes, for which alone memory is
        taken; and a float32 scalar, 0 where nothing was wrong, NaN otherwise.
    """
    number = tf.size(labels)
    limit = number if learner.ways is None else tf.constant(learner.ways, tf.int32)
    fits = tf.reduce_all((labels >= 0) & (labels < limit))
    fits &= tf.equal(tf.shape(images)[0], number)
    usable = tf.clip_by_value(labels, 0, limit - 1)
    if learner.ways is not None and not learner.takes_fewer_ways:
        present = tf.reduce_any(usable[:, None] == tf.range(learner.ways)[None], axis=0)
        fits &= tf.reduce_all(present)
    return usable, tf.where(fits, 0.0, float("nan"))


def marked(value: tf.Tensor, mark: tf.Tensor) -> tf.Tensor:
    """A tensor of a state, NaN where labels did not fit; whole numbers stay what they are.

    Args:
        value: tensor.
        mark: float32 scalar, 0 or NaN.

    Returns:
        The tensor, of its own shape and type.
    """
    return value + tf.cast(mark, value.dtype) if value.dtype.is_floating else tf.identity(value)


def mark_in(state: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The mark that `marked` left in a state.

    Args:
        state: mapping of names to tensors, one of them of floats at least.

    Returns:
        float32 scalar, 0 or NaN.
    """
    floats = [value for _, value in sorted(state.items()) if value.dtype.is_floating]
    # All are marked, and in each every number.
    first = tf.cast(tf.reshape(floats[0], [-1])[0], tf.float32)
    return tf.where(tf.abs(first) < tf.float32.max, 0.0, float("nan"))
