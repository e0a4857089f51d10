"""Functions put between the layers of a finished network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kfsl.layer_calls import graph_of


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
        ValueError: if there is no such layer, or other layers also use what comes before it
            (a layer on one branch of a residual block).

    Example:

    ```python
    import keras
    from kfsl.backbones.conv4 import Conv4
    from kfsl.backbones.insertion import output_with_insertions

    backbone = Conv4(image_shape=(28, 28, 1), filters=4)
    halved = output_with_insertions(backbone, {"block3_pool": lambda maps: 0.5 * maps})
    model = keras.Model(backbone.input, halved)
    assert model.count_params() == backbone.count_params()
    ```
    """
    names = [layer.name for layer in backbone.layers]
    for name in insertions:
        if name not in names:
            raise ValueError(f"There is no layer {name!r}; the layers are {', '.join(names)}.")
    # Not `input` and `output`: sequential models have none, and their layers may have others.
    nodes = itertools.chain.from_iterable(graph_of(backbone)._nodes_by_depth.values())
    produced = {id(node.operation): node.output_tensors[0] for node in nodes}
    start, end = backbone.inputs[0], backbone.outputs[0]
    x = start
    for layer in backbone.layers:
        if layer.name in insertions:
            x = insertions[layer.name](_between(start, produced[id(layer)], layer.name)(x))
            start = produced[id(layer)]
    return x if start is end else _between(start, end, "the last layer")(x)


def _between(start: Any, end: Any, name: str) -> keras.Model:
    try:
        return keras.Model(start, end)
    except ValueError as error:
        raise ValueError(
            f"{name} is reached from layers before the insertion on more ways than through it. "
            "Insert where a network has a single branch, such as after a block's last layer."
        ) from error
