"""What a served graph refuses, in words, before a layer sees it."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.serving.files import MOST_STEPS

#: Sizes of a wrong shape that a message shows.
SHOWN = 8


def with_checked_shapes(
    function: Callable, specs: Mapping[str, tf.TensorSpec], smallest: Mapping[str, int]
) -> Callable:
    """A function that looks at the shapes of its inputs first.

    TensorFlow does not hold a served graph to the shapes that it was traced for, and some kernels
    end the process at a tensor of another rank.

    Args:
        function: callable that takes tensors by name.
        specs: mapping of names to `tf.TensorSpec`. What each input has to be.
        smallest: mapping of names of images to the least height and width; those without one
            may be missing.

    Returns:
        A function of the same inputs, whose graph raises `InvalidArgumentError` with the name of
        the input, the shape that it must have, and the one that it has.
    """

    def checked(**inputs: tf.Tensor) -> Any:
        inputs = {
            name: _shaped(name, tensor, specs[name].shape, smallest.get(name, 0))
            for name, tensor in inputs.items()
        }
        return function(**inputs)

    return checked


def check_support(
    learner: Learner, images: tf.Tensor, labels: tf.Tensor, steps: Mapping[str, tf.Tensor]
) -> list[tf.Operation]:
    """Checks of a support set, to be made control dependencies.

    Args:
        learner: `Learner`.
        images: tensor, `[S, ...]`, or features.
        labels: tensor, the targets: `[S]`, of numbers `[S, width]`.
        steps: mapping with the number of steps, or empty.

    Returns:
        list of operations that raise `InvalidArgumentError`.
    """
    has_classes = learner.objective.has_classes
    target, what = ("label", "image") if has_classes else ("target", "input")
    message = f"One {target} for each support {what} is needed."
    checks = [
        tf.debugging.assert_equal(tf.shape(images)[0], tf.shape(labels)[0], message),
        tf.debugging.assert_positive(tf.size(labels), "The support set is empty."),
    ]
    if has_classes:
        checks += _check_labels(learner, labels)
    for value in steps.values():
        checks.append(tf.debugging.assert_non_negative(value, "steps must be 0 or more."))
        most = f"steps must be {MOST_STEPS} or less."
        checks.append(tf.debugging.assert_less_equal(value, MOST_STEPS, most))
    return checks


def _check_labels(learner: Learner, labels: tf.Tensor) -> list[tf.Operation]:
    checks = [
        tf.debugging.assert_non_negative(labels, "Support labels count from 0."),
        _check_largest_label(learner, labels),
    ]
    if learner.ways is not None and not learner.takes_fewer_ways:
        checks.append(_check_all_classes(learner.ways, labels))
    return checks


def _check_largest_label(learner: Learner, labels: tf.Tensor) -> tf.Operation:
    if learner.ways is not None:
        message = f"This model is made for {learner.ways} ways: support labels go from 0 to "
        limit = tf.constant(learner.ways, tf.int32)
        return tf.debugging.assert_less(labels, limit, f"{message}{learner.ways - 1}.")
    # Memory is taken for as many classes as the largest label says.
    return tf.debugging.assert_less(
        labels,
        tf.size(labels),
        "Support labels number the classes from 0 without large gaps: each must be less than the "
        "number of support images.",
    )


def _check_all_classes(ways: int, labels: tf.Tensor) -> tf.Operation:
    present = tf.reduce_any(labels[:, None] == tf.range(ways), axis=0)
    message = (
        f"This model takes {ways} ways and no fewer: each label from 0 to {ways - 1} needs a "
        "support image. Received the labels"
    )
    return tf.debugging.Assert(tf.reduce_all(present), [message, labels], SHOWN)


def _shaped(name: str, tensor: tf.Tensor, shape: tf.TensorShape, smallest: int) -> tf.Tensor:
    # The static shape is what the check must not believe; behind this operation it is unknown.
    found = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=None))
    if shape.rank is None:
        return tensor
    message = f"{name} must have the shape {_words(shape, smallest)}; received the shape"
    ranks = tf.debugging.Assert(tf.equal(tf.size(found), shape.rank), [message, found], SHOWN)
    with tf.control_dependencies([ranks]):
        found = tf.identity(found)
    least = tf.constant([size or 0 for size in shape], tf.int32)
    most = tf.constant([tf.int32.max if size is None else size for size in shape], tf.int32)
    if smallest:
        least = tf.maximum(least, tf.constant([0, smallest, smallest, 0]))
    fits = tf.reduce_all((found >= least) & (found <= most))
    sizes = tf.debugging.Assert(fits, [message, found], SHOWN)
    with tf.control_dependencies([sizes]):
        return tf.identity(tensor)


def _words(shape: tf.TensorShape, smallest: int) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    if smallest:
        sizes[1:3] = [f"{smallest} or more" if size == "any" else size for size in sizes[1:3]]
    return f"[{', '.join(sizes)}]"
