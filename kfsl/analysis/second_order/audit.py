"""Which layers of a model TensorFlow differentiates twice correctly: an audit, layer by layer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.analysis.second_order.error import TOLERANCE, second_order_error
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.networks.exact_layers import copy_of, remedy_for
from kfsl.networks.layer_calls import LayerCall, layer_calls

#: Images of a batch, and the length of other axes that the model leaves open.
BATCH, OPEN_AXIS = 4, 8

# Inputs are drawn so often before a layer counts as not audited.
DRAWS = 3
# Noise on the weights from the second draw on: zeros, such as of biases, can lie on a kink.
JITTER = 0.01


@dataclasses.dataclass(frozen=True)
class LayerAudit:
    """What was found about one layer.

    Args:
        name: str. Names of the layer and of the models around it, with slashes between.
        kind: str. Name of its class.
        error: float or None. Relative error of the second derivative; None where TensorFlow
            could not compute one, or the layer could not be called alone.
        verdict: str. `"exact"`, `"wrong"`, `"none"` (TensorFlow has no second derivative) or
            `"not audited"`.
        reason: str. What went wrong, or what to do.
    """

    name: str
    kind: str
    error: float | None
    verdict: str
    reason: str = ""

    @property
    def at_fault(self) -> bool:
        """Whether a second-order method must not use the layer."""
        return self.verdict in ("wrong", "none")


def audit(model: keras.Model) -> list[LayerAudit]:
    """Compares the second derivatives of each layer of a model with finite differences.

    Each layer of the graph is copied in float64 with its weights, and called alone, in training
    mode, on noise of the shape that it has in the model. Models inside the model are entered;
    what a layer's own code calls is audited with it. A layer that is frozen is audited as if it
    were not, and layers that resample images before any weights count as exact, since nobody
    differentiates for pixels.

    Args:
        model: `keras.Model`, functional or sequential, built.

    Returns:
        List of `LayerAudit`, one for each layer in the order of the graph.

    Raises:
        ValueError: for a model without a graph, whose `call` is Python code.

    Example:
    ```python
    import keras
    from kfsl.analysis.second_order.audit import audit
    from kfsl.networks.exact_layers import exact

    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    assert [layer.verdict for layer in audit(model)] == ["exact", "wrong"]
    assert [layer.verdict for layer in audit(exact(model))] == ["exact", "exact"]
    ```
    """
    calls = {id(call.layer): call for call in reversed(layer_calls(model))}
    if any(call.args is None for call in calls.values()):
        raise ValueError(
            f"The model {model.name!r} is not functional or sequential, or not built, so its "
            "layers cannot be told apart. Audit the models and layers inside it, the latter with "
            "kfsl.analysis.second_order.error.second_order_error(layer, inputs)."
        )
    return [_audited(call) for call in reversed(calls.values())]


class _OperationLayer(keras.layers.Layer):
    """An operation of a graph, as a layer."""

    def __init__(self, operation: keras.Operation, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operation = operation

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.operation.call(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "operation": self.operation}


def _audited(call: LayerCall) -> LayerAudit:
    name, layer = call.name, call.layer
    kind = type(layer).__name__
    if not isinstance(layer, keras.layers.Layer):
        remedy = remedy_for(layer, call.after_weights)
        if remedy:
            return LayerAudit(name, kind, None, "wrong", remedy)
        layer = _OperationLayer(layer)
    elif remedy_for(layer) and not remedy_for(layer, call.after_weights):
        return LayerAudit(name, kind, None, "exact", "before all weights")
    try:
        error = _error_of(layer, call)
    except LookupError as problem:
        remedy = remedy_for(layer) or f"TensorFlow has no second derivative ({_line(problem)})"
        return LayerAudit(name, kind, None, "none", remedy)
    except Exception as problem:  # A user's layer can raise anything.
        if isinstance(problem, ArithmeticError) and remedy_for(layer):
            # Rotations and the like round to float32, whatever their policy.
            return LayerAudit(name, kind, None, "wrong", remedy_for(layer))
        return LayerAudit(name, kind, None, "not audited", _line(problem))
    if error <= TOLERANCE:
        return LayerAudit(name, kind, error, "exact")
    remedy = remedy_for(layer) or "rewrite the layer, or use first_order=True"
    return LayerAudit(name, kind, error, "wrong", remedy)


def _error_of(layer: keras.layers.Layer, call: LayerCall) -> float:
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    # For the layers that a layer makes without a policy, and for the inputs of models in it.
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    try:
        copied = copy_of(layer, _in_float64(layer.get_config()))
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            made = functools.partial(_noise, rng, layer)
            args, kwargs = tf.nest.map_structure(made, (call.args, call.kwargs))
            if draw == 0:
                copied(*args, **kwargs)
                copied.set_weights(layer.get_weights())
                copied.trainable = True
            else:
                for weight in copied.trainable_weights:
                    weight.assign(weight + JITTER * rng.normal(size=weight.shape))
            with contextlib.suppress(ArithmeticError):
                return second_order_error(copied, *args, seed=draw, **kwargs)
        raise ArithmeticError("differences of the gradient do not settle")
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def _in_float64(config: Any) -> Any:
    """A configuration with each dtype, also those of layers inside, float64."""
    if isinstance(config, dict):
        return {k: "float64" if k == "dtype" else _in_float64(v) for k, v in config.items()}
    return [_in_float64(v) for v in config] if isinstance(config, list) else config


def _noise(rng: np.random.Generator, layer: keras.layers.Layer, argument: Any) -> Any:
    """Noise for a Keras tensor; other arguments as they are."""
    if not isinstance(argument, keras.KerasTensor):
        return argument
    shape = [OPEN_AXIS if length is None else length for length in argument.shape]
    shape[:1] = [BATCH] if argument.shape[:1] == (None,) else shape[:1]
    if isinstance(layer, PixelNormalization):  # Which refuses what is scaled already.
        return tf.constant(rng.uniform(0.0, 1.0 / layer.scale, shape), "float64")
    if "float" in argument.dtype and not isinstance(layer, keras.layers.Embedding):
        return tf.constant(rng.normal(size=shape), "float64")
    if argument.dtype == "bool":
        return tf.ones(shape, "bool")
    return tf.constant(rng.integers(0, getattr(layer, "input_dim", 2), shape), "int32")


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split("\n")[0].split()) or type(problem).__name__
