"""Which layers a model calls, in order, and on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from kfsl.networks.keras_private import flat_layers, graph_of, nodes


@dataclasses.dataclass(frozen=True)
class LayerCall:
    """One call of a layer or operation in a model's graph.

    Args:
        name: str. The layer's name, behind those of the models around it and slashes.
        layer: `keras.layers.Layer`, or the `keras.Operation` that a function of `keras.ops` left
            in the graph.
        args: tuple of the call's arguments, with Keras tensors in it; None where the layer is
            called by Python code and not in a graph.
        kwargs: dict of the call's keyword arguments.
        after_weights: bool. Whether trainable weights influence the arguments, so that gradients
            pass through the layer.
    """

    name: str
    layer: Any
    args: tuple | None
    kwargs: dict[str, Any]
    after_weights: bool

    def parts(self) -> Iterator[tuple[str, Any, bool]]:
        """The layer, and those that it calls by Python code: name, layer, `after_weights`."""
        if not isinstance(self.layer, keras.layers.Layer):
            yield self.name, self.layer, self.after_weights
            return
        inside = self.after_weights or bool(self.layer.trainable_variables)
        for part in flat_layers(self.layer):
            if part is self.layer:
                yield self.name, part, self.after_weights
            else:
                yield f"{self.name}/{part.name}", part, inside


def layer_calls(model: keras.Model) -> list[LayerCall]:
    """The calls in a model's graph; nested functional and sequential models are entered.

    Args:
        model: `keras.Model`, built. One whose `call` is Python code is a single call.

    Returns:
        List of `LayerCall`, producers before consumers.

    Example:
    ```python
    import keras
    from kfsl.networks.layer_calls import layer_calls

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")])
    assert [call.name for call in layer_calls(model)] == ["first"]
    ```
    """
    graph = graph_of(model)
    if graph is None:
        return [LayerCall(model.name, model, None, {}, False)]
    return list(_calls(graph, "", False))


def _calls(graph: Any, prefix: str, after_weights: bool) -> Iterator[LayerCall]:
    moved: set[int] = set()  # Tensors that trainable weights influence.
    for node in nodes(graph):
        layer, name = node.operation, prefix + node.operation.name
        after = after_weights or any(id(t) in moved for t in node.input_tensors)
        if after or getattr(layer, "trainable_variables", ()):
            moved.update(id(tensor) for tensor in node.output_tensors)
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inner = graph_of(layer)
        if inner is None:
            arguments = node.arguments
            yield LayerCall(name, layer, arguments.args, arguments.kwargs, after)
        else:
            yield from _calls(inner, f"{name}/", after)
