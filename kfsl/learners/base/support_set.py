"""What an inner step sees of a support set."""

from typing import Any

import tensorflow as tf


def mini_batch(
    images: Any, labels: Any, mask: Any, seed: Any, step: Any, size: int | None
) -> tuple[Any, Any, Any]:
    """The support images of one inner step, drawn without replacement.

    Args:
        images: tensor, `[S, H, W, C]`.
        labels: int tensor, `[S]`.
        mask: bool tensor, `[S]`, or None; padding is drawn last.
        seed: int tensor, `[2]`, of the task.
        step: int or int tensor, from 0.
        size: int or None; None for the whole support set.

    Returns:
        Images, labels and mask (or None) of the drawn rows.
    """
    if size is None:
        return images, labels, mask
    seed = step_seed(seed, step, "mini-batch")
    scores = tf.random.stateless_uniform(tf.shape(labels)[:1], seed, alg="philox")
    if mask is not None:
        scores = tf.where(mask, scores, 2.0)  # Padding comes last.
    rows = tf.argsort(scores)[:size]
    return (
        tf.gather(images, rows),
        tf.gather(labels, rows),
        None if mask is None else tf.gather(mask, rows),
    )


def step_seed(seed: Any, step: Any, purpose: str) -> Any:
    """A seed of one inner step.

    Args:
        seed: int tensor, `[2]`, of the task.
        step: int or int tensor, from 0.
        purpose: str. `"mini-batch"` or `"augmentation"`.

    Returns:
        int tensor, `[2]`, unlike those of the gradients' noise.
    """
    fold_in = tf.random.experimental.stateless_fold_in
    # Negative numbers: noise is folded in with the step itself.
    of_step = fold_in(seed, -1 - tf.cast(step, seed.dtype))
    return of_step if purpose == "mini-batch" else fold_in(of_step, 1)


def augmented(augmentation: Any, images: Any, seed: Any, step: Any) -> Any:
    """The support images as an inner step sees them.

    Args:
        augmentation: layer, called with images and a seed; or None.
        images: float tensor, `[n, H, W, C]`, as the network takes them.
        seed: int tensor, `[2]`, of the task.
        step: int or int tensor, from 0.

    Returns:
        Tensor of the images' shape.
    """
    if augmentation is None:
        return images
    return augmentation(images, step_seed(seed, step, "augmentation"))
