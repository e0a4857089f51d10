"""Which Keras layers have wrong second derivatives on TensorFlow, and what replaces them."""

import keras


def inexact_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model whose second derivatives TensorFlow gets wrong."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, INEXACT)]


def check_exact(model: keras.Model) -> None:
    """Refuses a model with such layers.

    Raises:
        ValueError: naming the first of them.
    """
    for layer in inexact_layers(model):
        raise ValueError(
            f"The second derivatives of the layer {layer.name!r} ({type(layer).__name__}) are "
            "wrong on TensorFlow, and exact second order was asked for. Convert the model with "
            "kfsl.gradients.exact(model), use first_order=True, or accept the error with "
            "require_exact=False."
        )


INEXACT = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)
