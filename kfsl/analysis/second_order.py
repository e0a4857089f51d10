"""Which layers of a model TensorFlow differentiates twice correctly: an audit, layer by layer."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.exact_layers import copy_of, remedy_for
from kfsl.gradients import starting_weights, value_and_grad
from kfsl.layer_calls import LayerCall, layer_calls

#: Above it a layer is at fault: exact layers stay below 1e-5, wrong ones are near 1.
TOLERANCE = 1e-3

#: Images of a batch, and the length of other axes that the model leaves open.
BATCH, OPEN_AXIS = 4, 8

# Rounding, 1e-16 / STEP, stays small, and few arguments of a ReLU change their sign.
STEP = 1e-6
# A second derivative below this much of the gradient is lost in the rounding of differences.
NEGLIGIBLE = 1e-3
ROUNDING = 1e5
DRAWS = 3


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


def second_order_error(
    layer: keras.layers.Layer, *args: Any, seed: int = 0, **kwargs: Any
) -> float:
    """Relative error of a layer's second derivative, against differences of its first.

    With `z` the float inputs and trainable weights, and `loss(z)` a quadratic function of the
    outputs in training mode, it compares `H v` for random directions `v`, once with TensorFlow's
    two nested gradients and once as `(g(z + h v) - g(z - h v)) / 2 h`. The layer should compute
    in float64. A loss that is quadratic, not linear, shows layers that are linear themselves but
    whose gradient TensorFlow cannot differentiate.

    Args:
        layer: `keras.layers.Layer`, built.
        *args: tensors, or structures of them: the arguments of the call.
        seed: int. Chooses the loss and the directions.
        **kwargs: more arguments of the call.

    Returns:
        float: norm of the disagreement over the norm of the differences; the largest of those
        for each input and weight. 0 where both vanish.

    Raises:
        LookupError: if TensorFlow has no second derivative.

    Example:
    ```python
    import keras
    import numpy as np
    from kfsl.analysis.second_order import second_order_error

    inputs = np.random.default_rng(0).normal(size=(4, 6))
    stock = keras.layers.BatchNormalization(dtype="float64")
    stock.build(inputs.shape)
    assert second_order_error(stock, inputs) > 1e-2
    ```
    """
    rng = np.random.default_rng(seed)
    leaves = tf.nest.flatten((args, kwargs))
    arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (tf.Tensor, np.ndarray))]
    leaves = [tf.constant(x) if i in arrays else x for i, x in enumerate(leaves)]
    moved = [i for i in arrays if leaves[i].dtype.is_floating]
    weights = starting_weights(layer.trainable_variables)
    others = starting_weights(layer.non_trainable_variables)

    def outputs(point: list[Any]) -> list[Any]:
        called = list(leaves)
        for i, leaf in zip(moved, point, strict=False):
            called[i] = leaf
        arguments, keywords = tf.nest.pack_sequence_as((args, kwargs), called)
        keywords = {**keywords, **_training(layer)}
        found, _ = layer.stateless_call(point[len(moved) :], others, *arguments, **keywords)
        return [out for out in tf.nest.flatten(found) if out.dtype.is_floating]

    point = [leaves[i] for i in moved] + weights
    # With the outputs themselves in it, the loss feels a change of their scale.
    coefficients = [out + _normal(rng, out.shape, out.dtype) for out in outputs(point)]
    if not point or not coefficients:
        return 0.0

    def loss(point: list[Any]) -> Any:
        pairs = zip(outputs(point), coefficients, strict=True)
        return tf.add_n([tf.reduce_sum(c * out + 0.5 * tf.square(out)) for out, c in pairs])

    def gradient(point: list[Any]) -> list[Any]:
        return value_and_grad(loss, point)[1]

    def product(point: list[Any], direction: list[Any]) -> list[Any]:
        return value_and_grad(lambda point: _inner(gradient(point), direction), point)[1]

    # Traced, as in training: a concrete function, whose making is not counted as retracing.
    traced_gradient = tf.function(gradient, autograph=False).get_concrete_function(point)
    traced_product = tf.function(product, autograph=False).get_concrete_function(point, point)
    scales = [_norm(part) for part in traced_gradient(point)]
    worst = 0.0
    # Inputs and weights move apart, and each part of the gradient counts by itself: otherwise
    # the large derivatives for some would hide errors of the small ones.
    for group in (range(len(moved)), range(len(moved), len(point))):
        if not group:
            continue
        direction = [_direction(rng, x) if i in group else x * 0 for i, x in enumerate(point)]
        near, far = (
            _differences(traced_gradient, point, direction, step) for step in (STEP, 2 * STEP)
        )
        found = traced_product(point, direction)
        for f, d, other, scale in zip(found, near, far, scales, strict=True):
            # What two steps disagree on is rounding: of a bias before normalisation it is all.
            rounding = min(ROUNDING * _norm(d - other), 10 * NEGLIGIBLE * max(scales))
            floor = max(NEGLIGIBLE * scale, rounding, np.finfo("float64").tiny)
            worst = max(worst, _norm(f - d) / max(_norm(d), floor))
    return worst


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
    from kfsl.analysis.second_order import audit
    from kfsl.gradients import exact

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
            "kfsl.analysis.second_order.second_order_error(layer, inputs)."
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
        return LayerAudit(name, kind, None, "not audited", _line(problem))
    if error <= TOLERANCE:
        return LayerAudit(name, kind, error, "exact")
    remedy = remedy_for(layer) or "rewrite the layer, or use first_order=True"
    return LayerAudit(name, kind, error, "wrong", remedy)


def _error_of(layer: keras.layers.Layer, call: LayerCall) -> float:
    policy = keras.config.dtype_policy()
    # For the layers that a layer makes without a policy.
    keras.config.set_dtype_policy("float64")
    try:
        copied = copy_of(layer, _in_float64(layer.get_config()))
        errors = []
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            made = functools.partial(_noise, rng, layer)
            args, kwargs = tf.nest.map_structure(made, (call.args, call.kwargs))
            if draw == 0:
                copied(*args, **kwargs)
                copied.set_weights(layer.get_weights())
                copied.trainable = True
            errors.append(second_order_error(copied, *args, seed=draw, **kwargs))
            if errors[-1] <= TOLERANCE:
                break  # A larger error was a kink, such as a ReLU's, within the step.
        return min(errors)
    finally:
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
    if "float" in argument.dtype and not isinstance(layer, keras.layers.Embedding):
        return tf.constant(rng.normal(size=shape), "float64")
    if argument.dtype == "bool":
        return tf.ones(shape, "bool")
    return tf.constant(rng.integers(0, getattr(layer, "input_dim", 2), shape), "int32")


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split("\n")[0].split()) or type(problem).__name__


def _training(layer: keras.layers.Layer) -> dict[str, bool]:
    return {"training": True} if layer._call_has_training_arg else {}


def _normal(rng: np.random.Generator, shape: Any, dtype: Any) -> Any:
    return tf.constant(rng.normal(size=tuple(shape)), dtype)


def _direction(rng: np.random.Generator, like: Any) -> Any:
    """Noise, and noise along each axis alone: moments feel little but a common shift."""
    rank = len(like.shape)
    shapes = [[n if i == k else 1 for i, n in enumerate(like.shape)] for k in range(rank)]
    parts = (_normal(rng, shape, like.dtype) + tf.zeros_like(like) for shape in shapes)
    return tf.add_n([_unit(part) for part in (*parts, _normal(rng, like.shape, like.dtype))])


def _unit(direction: Any) -> Any:
    return direction / tf.norm(direction)


def _differences(gradient: Any, point: list[Any], direction: list[Any], step: float) -> list[Any]:
    ahead, behind = (
        gradient([x + h * v for x, v in zip(point, direction, strict=True)]) for h in (step, -step)
    )
    return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]


def _norm(tensor: Any) -> float:
    return float(tf.norm(tensor))


def _inner(first: list[Any], second: list[Any]) -> Any:
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(first, second, strict=True)])
