"""Layers that a learner is given, themselves or as a configuration has them."""

from typing import Any

import keras


def preparation(backbone: Any, preprocessing: Any) -> Any:
    """The preprocessing of a learner with this backbone.

    Args:
        backbone: `keras.Model`, or its serialised form.
        preprocessing: `keras.layers.Layer` or None, what a user asked for.

    Returns:
        Layer that leaves pixels as they are, where the backbone takes them raw and nothing was
        asked for; `preprocessing` elsewhere.
    """
    if preprocessing is None and getattr(backbone, "takes_pixels", False):
        return keras.layers.Identity()
    return preprocessing


def restored(layer: Any) -> Any:
    """A layer, from itself or from its serialised form."""
    return keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer
