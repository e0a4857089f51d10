"""The names that Keras does not promise; the only place in kfsl that knows them."""

from typing import Any

import keras


def flat_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer or model and all that is inside it, nested models' layers too."""
    return list(layer._flatten_layers())


def graph_of(model: Any) -> Any:
    """A functional or sequential model's graph; None where `call` is Python code."""
    graph = getattr(model, "_functional", None) or model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def nodes(graph: Any) -> list[Any]:
    """The calls in a graph, producers before consumers."""
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def raw_value(variable: keras.Variable) -> Any:
    """A variable's tensor as it is stored.

    `value` is cast to half precision while a layer of mixed precision is called.
    """
    return variable._value


def declared_shape(layer: keras.layers.Lambda) -> Any:
    """The output shape that a `Lambda` layer was given, or None."""
    return layer._output_shape


def track_loss(model: keras.Model, loss: Any) -> None:
    """Adds a loss to the mean that Keras shows as `loss`; its own `train_step` would."""
    model._loss_tracker.update_state(loss)


def measure_loss_in(model: keras.Model, dtype: str) -> None:
    """Makes that mean one of another precision; of a model that is compiled."""
    model._loss_tracker = keras.metrics.Mean(name="loss", dtype=dtype)


def take_whole_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Tells an optimiser that its gradients are those of all replicas, added up already.

    Keras would add them where they are applied: after they were clipped and judged finite.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._all_reduce_sum_gradients = list
