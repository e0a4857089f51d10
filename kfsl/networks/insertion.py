"""A finished network cut between its layers, and functions put there."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from kfsl.networks.keras_private import graph_of, nodes


def output_with_insertions(
    backbone: keras.Model, insertions: Mapping[str, Callable[[Any], Any]]
) -> Any:
    """A backbone's output, with functions applied to the outputs of some of its layers.

    The layers are the backbone's own, and so are their weights; its graph stays as it is.

    Args:
        backbone: functional `keras.Model` of one input.
        insertions: dict from names of layers to functions of a Keras tensor, which return one of
            the same shape.

    Returns:
        Keras tensor, reached from `backbone.input` and from what the functions bring in.

    Raises:
        ValueError: if there is no such layer, it is called several times, or other layers also
            use what comes before it (a layer on one branch of a residual block).

    Example:
    ```python
    import keras
    from kfsl.backbones.conv4 import Conv4
    from kfsl.networks.insertion import output_with_insertions

    backbone = Conv4(image_shape=(28, 28, 1), filters=4)
    halved = output_with_insertions(backbone, {"block3_pool": lambda maps: 0.5 * maps})
    model = keras.Model(backbone.input, halved)
    assert model.count_params() == backbone.count_params()
    ```
    """
    start, *rest = segments(backbone, insertions)
    x = start(backbone.inputs[0])
    named = [layer.name for layer in backbone.layers if layer.name in insertions]
    for name, segment in zip(named, rest, strict=True):
        x = insertions[name](x)
        x = x if segment is None else segment(x)
    return x


def segments(backbone: keras.Model, names: Iterable[str]) -> list[keras.Model | None]:
    """A backbone cut behind some of its layers.

    The segments' layers are the backbone's own, and so are their weights.

    Args:
        backbone: functional `keras.Model` of one input.
        names: names of layers, in any order.

    Returns:
        One model more than names, in the order of the backbone; the last is None where the last
        of these layers gives the backbone's output.

    Raises:
        ValueError: as `output_with_insertions`.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.networks.insertion import segments

    first, second = segments(Conv4(image_shape=(28, 28, 1), filters=4), ["block2_bn"])
    assert first.output_shape == second.input_shape == (None, 14, 14, 4)
    ```
    """
    known = [layer.name for layer in backbone.layers]
    names = list(names)
    calls = collections.Counter(node.operation.name for node in nodes(graph_of(backbone)))
    for name in names:
        if name not in known:
            raise ValueError(f"There is no layer {name!r}; the layers are {', '.join(known)}.")
        if calls[name] > 1:
            raise ValueError(
                f"The layer {name!r} is called {calls[name]} times, and which call is meant cannot "
                "be told. Give each place a layer of its own."
            )
    # Not `input` and `output`: sequential models have none, and their layers may have others.
    produced = {id(node.operation): node.output_tensors[0] for node in nodes(graph_of(backbone))}
    start, end = backbone.inputs[0], backbone.outputs[0]
    found: list[keras.Model | None] = []
    for layer in backbone.layers:
        if layer.name in names:
            found.append(_between(start, produced[id(layer)], layer.name))
            start = produced[id(layer)]
    found.append(None if start is end else _between(start, end, "the last layer"))
    return found


def _between(start: Any, end: Any, name: str) -> keras.Model:
    try:
        return keras.Model(start, end)
    except ValueError as error:
        raise ValueError(
            f"{name} is reached from what comes before the cut on more ways than through it. "
            "Choose layers where the network has a single branch, such as a block's last."
        ) from error
