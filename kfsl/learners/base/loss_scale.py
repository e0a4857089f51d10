"""One scale of the loss for several optimisers: in float16 they step, and skip, together."""

import math
from typing import Any

import keras
import tensorflow as tf


def scaled_alike(optimizer: Any, like: Any) -> Any:
    """An optimiser that scales the loss as another does, so that both always have one scale.

    Args:
        optimizer: Keras optimiser.
        like: Keras optimiser; in float16 a `keras.optimizers.LossScaleOptimizer`.

    Returns:
        Keras optimiser, of the same kind as `like`.
    """
    scaling = keras.optimizers.LossScaleOptimizer
    if not isinstance(like, scaling):
        return optimizer
    inner = optimizer.inner_optimizer if isinstance(optimizer, scaling) else optimizer
    return scaling(inner, like.initial_scale, like.dynamic_growth_steps)


def for_optimizer(optimizer: Any, gradients: list[Any], scale: Any, finite: Any) -> list[Any]:
    """What an optimiser is given of gradients that several share.

    Args:
        optimizer: Keras optimiser.
        gradients: list of tensors, or None where a weight has no gradient.
        scale: scalar tensor, or float. That of the loss which they are gradients of.
        finite: bool tensor. Whether all gradients of all optimisers are. If not, an optimiser
            that scales the loss is given one that is not either, and skips the step.

    Returns:
        list of tensors and None.
    """
    factor = optimizer.scale_loss(1.0) / scale
    gradients = [g if g is None else tf.convert_to_tensor(g) * factor for g in gradients]
    first = next((place for place, g in enumerate(gradients) if g is not None), None)
    if first is not None and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients[first] = tf.where(finite, gradients[first], math.nan)
    return gradients
