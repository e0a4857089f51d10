"""Layers that a learner is given, themselves or as a configuration has them."""

from typing import Any

import keras

from kfsl.argument_checks import check_made
from kfsl.layers.network_pixels import NetworkPixels
from kfsl.layers.raw_pixels import RawPixels
from kfsl.networks.keras_private import graph_of, nodes


def takes_pixels(backbone: Any) -> bool:
    """Whether a backbone takes raw pixels, and its own layers prepare them.

    Args:
        backbone: `keras.Model`, its serialised form, or None.
    """
    if getattr(backbone, "takes_pixels", False):
        return True
    # A copy of such a network's graph, as `kfsl.networks.exact` makes it, has its layers.
    graph = graph_of(backbone)
    inputs = {id(tensor) for tensor in graph.inputs} if graph is not None else set()
    return any(
        isinstance(node.operation, NetworkPixels) and id(node.input_tensors[0]) in inputs
        for node in (nodes(graph) if inputs else ())
    )


def preparation(backbone: Any, preprocessing: Any) -> Any:
    """The preprocessing of a learner with this backbone.

    Args:
        backbone: `keras.Model`, or its serialised form.
        preprocessing: `keras.layers.Layer` or None, what a user asked for.

    Returns:
        Layer that leaves pixels as they are, where the backbone takes them raw and nothing was
        asked for; `preprocessing` elsewhere.
    """
    if preprocessing is None and takes_pixels(backbone):
        return RawPixels()
    return preprocessing


def shared_preparation(backbone: Any, encoder: Any, preprocessing: Any) -> Any:
    """The preprocessing of a learner whose backbone and task encoder see the same images.

    Args:
        backbone, encoder: `keras.Model`, or their serialised forms.
        preprocessing: `keras.layers.Layer` or None, what a user asked for.

    Returns:
        As `preparation`.

    Raises:
        ValueError: if nothing was asked for and one of the two takes raw pixels.
    """
    if preprocessing is None and takes_pixels(backbone) != takes_pixels(encoder):
        raise ValueError(
            "`backbone` and `encoder` see the same images, and one of them takes raw pixels, "
            "the other floats from 0 to 1. Give two networks of one kind, or `preprocessing`."
        )
    return preparation(backbone, preprocessing)


def given_network(argument: str, network: Any) -> Any:
    """A network, from itself or from its serialised form.

    Args:
        argument: str. The learner's argument, for the message.
        network: what was received.

    Raises:
        ValueError: if it is none, such as a class whose brackets were forgotten.
    """
    network = restored(network)
    check_made(f"`{argument}`", network, keras.layers.Layer, "a Keras model", "Conv4")
    return network


def given_layer(argument: str, layer: Any, example: str) -> Any:
    """A layer, from itself or from its serialised form, or None.

    Args:
        argument: str. The learner's argument, for the message.
        layer: what was received.
        example: str. What makes such a layer, as gin files name it.

    Raises:
        ValueError: if it is none, such as a class whose brackets were forgotten.
    """
    layer = restored(layer)
    if layer is not None:
        check_made(f"`{argument}`", layer, keras.layers.Layer, "a Keras layer", example)
    return layer


def restored(layer: Any) -> Any:
    """A layer, from itself or from its serialised form."""
    return keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer
