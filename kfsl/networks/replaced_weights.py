"""A finished Keras model, called with other weights than its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kfsl.networks.exact_layers import exact as exact  # Part of what this module offers.
from kfsl.networks.keras_private import raw_value


def starting_weights(variables: Sequence[keras.Variable]) -> list[Any]:
    """The values of variables as tensors, through which an outer tape reaches the variables.

    Args:
        variables: sequence of `keras.Variable`.

    Returns:
        List of tensors.
    """
    # Not `convert_to_tensor`, which can hand back the live variable.
    return [tf.identity(raw_value(variable)) for variable in variables]


def call_with(
    model: keras.Model,
    replaced: dict[int, Any],
    inputs: Any,
    training: bool,
) -> tuple[Any, list[Any]]:
    """Calls an unmodified Keras model with some trainable variables replaced by tensors.

    Args:
        model: `keras.Model`, built.
        replaced: dict from positions in `model.trainable_variables` to tensors.
        inputs: what the model takes.
        training: bool.

    Returns:
        What the model returns, and the values of its non-trainable variables after the call;
        the variables themselves are not touched.
    """
    trainable = [
        replaced[i] if i in replaced else tf.identity(raw_value(variable))
        for i, variable in enumerate(model.trainable_variables)
    ]
    others = starting_weights(model.non_trainable_variables)
    return model.stateless_call(trainable, others, inputs, training=training)
