"""A finished Keras model, called with other weights than its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kfsl.networks.exact_layers import exact as exact  # Part of what this module offers.
from kfsl.networks.keras_private import raw_value


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """A model's variables: those that are trained, and behind them the others."""
    return [*model.trainable_variables, *model.non_trainable_variables]


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
    """Calls an unmodified Keras model with some variables replaced by tensors.

    Args:
        model: `keras.Model`, built.
        replaced: dict from positions in `all_variables(model)` to tensors.
        inputs: what the model takes.
        training: bool.

    Returns:
        What the model returns, and the values of its non-trainable variables after the call,
        replaced ones as they are stored; the variables themselves are not touched.
    """
    own = all_variables(model)
    given = [
        replaced[i] if i in replaced else tf.identity(raw_value(variable))
        for i, variable in enumerate(own)
    ]
    count = len(model.trainable_variables)
    outputs, after = model.stateless_call(given[:count], given[count:], inputs, training=training)
    # What replaces a frozen weight is the task's, and no news of the weight.
    kept = [
        raw_value(own[i]) if i in replaced else value for i, value in enumerate(after, start=count)
    ]
    return outputs, kept
