"""What a learner can see wrong in an episode while its numbers can be read."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from kfsl.objectives.objective import readable


def check_kind(learner: Any, episode: dict[str, Any]) -> None:
    """Refuses tasks of another kind than a learner's, or inputs of another size than its network's.

    Args:
        learner: `Learner`.
        episode: dict of tensors.

    Raises:
        ValueError: saying what was received and what is expected.
    """
    objective, name = learner.objective, learner.objective.query_inputs
    if name not in episode:
        raise ValueError(
            f"{type(learner).__name__} with {type(objective).__name__} is asked about {name!r}, "
            f"and these episodes have {', '.join(episode)}. Bind a sampler that draws such tasks: "
            "pixel_episode or sinusoid_episode for numbers, fixed_episode for classes."
        )
    if objective.has_classes or learner.input_shape is None:
        return
    given = tuple(episode[name].shape[2:])
    if given != learner.input_shape:
        raise ValueError(
            f"The network takes inputs of shape {learner.input_shape}, and those of these tasks "
            f"are {given}. {learner.remedy_for_inputs(given)}"
        )


def check_support_labels(labels: Any, mask: Any, ways: int) -> None:
    """Refuses a support set that lacks a class, where its labels can be read.

    Args:
        labels: int tensor, `[B, S]`.
        mask: bool tensor, `[B, S]`, or None; `False` marks padding.
        ways: int. Classes that each episode must have.

    Raises:
        ValueError: for other labels than all of `0..ways - 1`.
    """
    labels, mask = readable(labels), readable(mask)
    if labels is None:
        return
    mask = np.ones(labels.shape, bool) if mask is None else mask.astype(bool)
    for row, keep in zip(labels, mask, strict=True):
        found = np.unique(row[keep])
        if not np.array_equal(found, np.arange(ways)):
            raise ValueError(
                f"This learner has ways={ways}: the support labels of an episode must be "
                f"0 to {ways - 1}, each at least once; received {found.tolist()}. Sample "
                f"{ways}-way episodes, or train a learner with another number of ways."
            )


def check_several_classes(labels: Any) -> None:
    """Refuses episodes of one class, of which every answer is right.

    Args:
        labels: int tensor, `[S]` or `[B, S]`, of support images; they can be read.

    Raises:
        ValueError: saying how many are expected.
    """
    if np.asarray(labels).max(axis=-1).min() < 1:
        raise ValueError(
            "The episodes must have 2 ways or more, since of one class every answer is right; "
            "received ways=1. Bind a larger number, such as WAYS=2."
        )


def check_shots(labels: Any, mask: Any, smallest: int, learner: str) -> None:
    """Refuses too few support images of a class: at once, or, in a graph, when it runs.

    Args:
        labels: int tensor, `[B, S]`.
        mask: bool tensor, `[B, S]`, or None; `False` marks padding.
        smallest: int. The least number of images of each class.
        learner: str. Whose number that is.

    Raises:
        ValueError: naming the fewest that a class has, where the labels can be read; in a graph
            `tf.errors.InvalidArgumentError`, without it.
    """
    message = (
        f"{learner} needs at least {smallest} support images of each class. Draw more, such as "
        "SHOTS=5, or add images."
    )
    values, marks = readable(labels), readable(mask)
    if values is not None and (mask is None or marks is not None):
        marks = np.ones(values.shape, bool) if marks is None else marks.astype(bool)
        fewest = min(
            int(np.unique(row[keep], return_counts=True)[1].min())
            for row, keep in zip(values, marks, strict=True)
        )
        if fewest < smallest:
            raise ValueError(f"{message} Received {fewest}.")
        return
    labels = tf.cast(labels, "int32")
    kept = tf.ones(tf.shape(labels), "bool") if mask is None else tf.cast(mask, "bool")
    alike = (labels[:, :, None] == labels[:, None]) & kept[:, None]
    counts = tf.reduce_sum(tf.cast(alike, "int32"), axis=-1)
    tf.debugging.assert_greater_equal(tf.boolean_mask(counts, kept), smallest, message)


def class_ids(episode: dict[str, Any], part: str, semantic_classes: int) -> Any:
    """The classes' ids within the training split, for a semantic branch.

    Args:
        episode: dict of tensors.
        part: str. `"support"` or `"query"`.
        semantic_classes: int. Classes of the branch.

    Returns:
        int32 tensor, `[B, n]`.

    Raises:
        ValueError: if they are missing, or out of range where they can be read.
    """
    key = f"{part}_classes"
    if key not in episode:
        raise ValueError(
            f"The semantic loss needs `{key}` in the episode: the ids of the classes within the "
            f"training split; received {sorted(episode)}. Add them, or set semantic_classes=0."
        )
    ids = readable(episode[key])
    if ids is not None and ids.size and not 0 <= ids.min() <= ids.max() < semantic_classes:
        raise ValueError(
            f"`{key}` has ids {ids.min()} to {ids.max()}, but semantic_classes="
            f"{semantic_classes} allows 0 to {semantic_classes - 1}. Set semantic_classes to the "
            "number of classes (or superclasses) of the training split."
        )
    return ops.cast(episode[key], "int32")
