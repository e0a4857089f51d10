"""Which Keras layers have wrong second derivatives on TensorFlow, and what replaces them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import layers

from kfsl.layers.group_normalization import GroupNormalization
from kfsl.layers.layer_normalization import LayerNormalization
from kfsl.layers.normalization import BatchNormalization
from kfsl.networks.keras_private import declared_shape, graph_of
from kfsl.networks.layer_calls import layer_calls

CONVERT = "convert the model with kfsl.networks.exact(model)"

#: What of a stock layer's configuration its exact replacement takes over.
TAKEN_OVER = {
    layers.BatchNormalization: (BatchNormalization, ("momentum",)),
    layers.LayerNormalization: (LayerNormalization, ()),
    layers.GroupNormalization: (GroupNormalization, ("groups",)),
}
SHARED = ("name", "dtype", "trainable", "epsilon", "center", "scale")

#: Settings of the stock layers that the exact ones do not have, and what they must be.
FIXED = {"renorm": False, "synchronized": False, "rms_scaling": False}
FIXED |= {
    f"{weight}_{kind}": None
    for weight in ("gamma", "beta")
    for kind in ("regularizer", "constraint")
}

# Their gradients for pixels cannot be differentiated again, or count as constants; those of
# rotations and the like are of the inverse transform, which is not the derivative to begin with.
RESAMPLING = (
    layers.Resizing,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
    layers.RandomShear,
    layers.RandomPerspective,
    layers.RandomElasticTransform,
)
#: Functions of `keras.ops` that leave an operation of such a name in a functional graph.
OPERATIONS = {
    "Moments": "use keras.ops.mean, and the mean of squared differences from it",
    "Resize": "repeat pixels with UpSampling2D(interpolation='nearest') or keras.ops.repeat",
    "AffineTransform": "transform the images before any layer with weights",
    "LayerNorm": "use kfsl.layers.layer_normalization.LayerNormalization",
    "Softsign": "write it as x / (1 + keras.ops.abs(x))",
}


class InexactLayer(NamedTuple):
    """A layer whose second derivative is wrong, or lacking, on TensorFlow.

    Args:
        name: str. Its name, behind those of the models around it.
        layer: `keras.layers.Layer`, or a `keras.Operation` of the graph.
        remedy: str. What to do about it.
    """

    name: str
    layer: Any
    remedy: str


def inexact_layers(model: keras.Model) -> list[InexactLayer]:
    """The layers of a model whose second derivatives TensorFlow gets wrong, or does not have.

    They were found by finite differences in float64; of a layer that is not Keras's or kfsl's,
    `kfsl.analysis.second_order.audit.audit` can tell. Layers that resample images are exact as
    long as no trainable weights come before them, for then nobody differentiates for their
    pixels.

    Args:
        model: `keras.Model`, built.

    Returns:
        List of `InexactLayer`, in the order of the graph, each layer once.
    """
    found: dict[int, InexactLayer] = {}
    for call in layer_calls(model):
        for name, layer, after_weights in call.parts():
            remedy = remedy_for(layer, after_weights)
            if remedy is not None:
                found.setdefault(id(layer), InexactLayer(name, layer, remedy))
    return list(found.values())


def check_exact(model: keras.Model) -> None:
    """Refuses a model with such layers.

    Args:
        model: `keras.Model`, built.

    Raises:
        ValueError: naming the first of them, and how many there are.
    """
    found = inexact_layers(model)
    if found:
        name, layer, remedy = found[0]
        more = f" (and of {len(found) - 1} more)" if len(found) > 1 else ""
        raise ValueError(
            f"The second derivatives of the layer {name!r} ({type(layer).__name__}){more} are "
            f"wrong on TensorFlow, and exact second order was asked for: {remedy}, use "
            "first_order=True, or accept the error with require_exact=False."
        )


def remedy_for(layer: Any, after_weights: bool = True) -> str | None:
    """What to do about a layer; None if it is exact.

    Args:
        layer: `keras.layers.Layer` or `keras.Operation`.
        after_weights: bool. Whether gradients pass through it.

    Returns:
        str or None.
    """
    if isinstance(layer, tuple(TAKEN_OVER)):
        # Root-mean-square scaling takes no variance.
        return None if getattr(layer, "rms_scaling", False) else CONVERT
    if isinstance(layer, layers.SpectralNormalization):
        return "leave SpectralNormalization out: it counts its singular vectors as constants"
    if _has_softsign(layer):
        return f"use another activation: {OPERATIONS['Softsign']}"
    resamples = isinstance(layer, RESAMPLING) or (
        isinstance(layer, layers.UpSampling2D) and layer.interpolation != "nearest"
    )
    if resamples and after_weights:
        return f"{OPERATIONS['Resize']}, or resample before any layer with weights"
    operation = type(layer).__name__
    if after_weights and not isinstance(layer, layers.Layer):
        return OPERATIONS.get(operation)
    return None


def exact(model: keras.Model) -> keras.Model:
    """A copy of a model with the same outputs and exact second derivatives.

    Keras's `BatchNormalization`, `LayerNormalization` and `GroupNormalization` become those of
    `kfsl.layers`. Names, weights, moving averages, dtype policies and what is frozen are kept;
    the copy shares nothing with the model, and is not compiled.

    Args:
        model: functional or sequential `keras.Model`, built; models may be nested in it.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: for a layer that cannot be replaced, naming it: settings that the exact
            layers do not have (an axis other than the last, several axes, `synchronized`,
            `renorm`, regularisers, Keras masks), layers without an exact replacement, or layers
            that Python code calls.

    Example:
    ```python
    import keras
    from kfsl.networks.exact_layers import exact

    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(name="bn")]
    model = exact(keras.Sequential([keras.Input((8, 8, 1)), *layers]))
    assert type(model.get_layer("bn")).__module__ == "kfsl.layers.normalization"
    ```
    """
    if graph_of(model) is None:
        raise ValueError(
            f"The model {model.name!r} is not functional or sequential, or not built: its layers "
            "are called by Python code. Use the layers of kfsl.layers in that code."
        )
    _check_convertible(model)
    copies: list[tuple[layers.Layer, layers.Layer]] = []

    def copy(layer: layers.Layer) -> layers.Layer:
        if graph_of(layer) is not None:
            return _rebuilt(layer, copy)
        made = _replacement(layer) or copy_of(layer, layer.get_config())
        if isinstance(layer, layers.Layer):  # Operations have no weights.
            copies.append((layer, made))
        return made

    converted = _rebuilt(model, copy)
    for old, new in copies:
        new.set_weights(old.get_weights())
        new.trainable = old.trainable
    return converted


def _rebuilt(model: keras.Model, copy: Callable) -> keras.Model:
    if not isinstance(model, keras.Sequential):
        return keras.models.clone_model(model, clone_function=copy, call_function=_called)
    (inputs,) = model.inputs
    first = keras.Input(batch_shape=inputs.shape, dtype=inputs.dtype, name=inputs.name)
    return keras.Sequential([first, *(copy(layer) for layer in model.layers)], name=model.name)


def copy_of(layer: layers.Layer, config: dict[str, Any]) -> layers.Layer:
    """A layer of the same class from a configuration, not built.

    Args:
        layer: `keras.layers.Layer`.
        config: dict, the layer's own or one changed in places.

    Returns:
        `keras.layers.Layer`.
    """
    if isinstance(layer, layers.Lambda):
        # Keras would take the function from the configuration, where it is untrusted code.
        function, shape = layer.function, declared_shape(layer)
        kept = {key: config[key] for key in ("name", "dtype", "trainable")}
        return layers.Lambda(function, shape, arguments=layer.arguments, **kept)
    return layer.__class__.from_config(config)


def _called(layer: layers.Layer, *args: Any, **kwargs: Any) -> Any:
    # The graph has `mask=None` for Keras's batch normalisation; the exact one takes none.
    if isinstance(layer, BatchNormalization):
        kwargs.pop("mask", None)
    return layer(*args, **kwargs)


def _check_convertible(model: keras.Model) -> None:
    for call in layer_calls(model):
        for name, layer, after_weights in call.parts():
            remedy = remedy_for(layer, after_weights)
            if remedy is None:
                continue
            if remedy is not CONVERT:
                raise ValueError(
                    f"The layer {name!r} ({type(layer).__name__}) has no exact replacement: "
                    f"{remedy}."
                )
            if layer is not call.layer:
                raise ValueError(
                    f"The layer {name!r} ({type(layer).__name__}) is called by the code of "
                    f"{type(call.layer).__name__}, not in the model's graph, and cannot be "
                    "replaced. Use the layers of kfsl.layers in that code."
                )
            reason = _not_expressible(layer, call.args)
            if reason:
                raise ValueError(
                    f"The layer {name!r} ({type(layer).__name__}) has {reason}, which the exact "
                    "layer of kfsl does not have. Build the model without it."
                )


def _not_expressible(layer: layers.Layer, args: tuple) -> str | None:
    """What keeps a stock layer from being replaced; None if nothing does."""
    config, inputs = layer.get_config(), args[0]
    axis = config["axis"]
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    if [a % len(inputs.shape) for a in axes] != [len(inputs.shape) - 1]:
        return f"axis={axis} for inputs with {len(inputs.shape)} axes"
    for setting, value in FIXED.items():
        if config.get(setting, value) != value:
            return f"{setting}={config[setting]!r}"
    masked = getattr(inputs, "_keras_mask", None) is not None
    if masked and isinstance(layer, layers.BatchNormalization):
        return "inputs with a Keras mask"
    return None


def _replacement(layer: layers.Layer) -> layers.Layer | None:
    for stock, (exact_class, settings) in TAKEN_OVER.items():
        if isinstance(layer, stock) and remedy_for(layer):
            config = layer.get_config()
            return exact_class(**{key: config[key] for key in (*SHARED, *settings)})
    return None


def _has_softsign(layer: Any) -> bool:
    names = ("activation", "recurrent_activation")
    return any(getattr(layer, name, None) is keras.activations.softsign for name in names)
