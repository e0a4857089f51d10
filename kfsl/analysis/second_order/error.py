"""How wrong the second derivative of one layer is, against differences of its first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.gradients import value_and_grad
from kfsl.networks.keras_private import flat_layers
from kfsl.networks.replaced_weights import starting_weights

#: Above it a layer is at fault: exact layers stay below 1e-5, wrong ones are above 0.1.
TOLERANCE = 1e-3

# A large step is rounded little, even where TensorFlow resamples in float32; a small one crosses
# no kinks, such as those of ReLUs.
STEPS = (1e-3, 1e-4, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 1e-8)
# No smaller step is tried once two disagree by less.
SETTLED = 1e-6
# Differences that disagree by more than this leave open whether a layer is exact; not whether it
# is at fault, if its error is this many times the disagreement.
OPEN, CERTAIN = 0.1 * TOLERANCE, 10
# Second derivatives below this much of the gradient, or of the layer's largest, count as that:
# of biases before normalisation they are zero, and all that differences show is rounding.
NEGLIGIBLE = 1e-3


def second_order_error(
    layer: keras.layers.Layer, *args: Any, seed: int = 0, **kwargs: Any
) -> float:
    """Relative error of a layer's second derivative, against differences of its first.

    With `z` the float inputs and trainable weights, and `loss(z)` a quadratic function of the
    outputs in training mode, it compares `H v` for random directions `v`, once with TensorFlow's
    two nested gradients and once as `(g(z + h v) - g(z - h v)) / 2 h`. The steps `h` get smaller
    until two agree, input by input and weight by weight. A loss that is quadratic, not linear,
    shows layers that are linear themselves but whose gradient TensorFlow cannot differentiate.

    Args:
        layer: `keras.layers.Layer` or `keras.Model`, built, in float64. The inputs of models are
            float64 if `keras.config.set_floatx("float64")` was called before they were made.
        *args: tensors, or structures of them: the arguments of the call.
        seed: int. Chooses the loss and the directions.
        **kwargs: more arguments of the call.

    Returns:
        float: norm of the disagreement over the norm of the differences; the largest of those
        for each input and weight.

    Raises:
        LookupError: if TensorFlow has no second derivative.
        ValueError: if something in the layer computes in less than float64, naming it.
        ArithmeticError: if no two steps agree well enough to tell: there is a kink at this very
            point, or something computes in less than float64 unseen.

    Example:
    ```python
    import keras
    import numpy as np
    from kfsl.analysis.second_order.error import second_order_error

    inputs = np.random.default_rng(0).normal(size=(4, 6))
    stock = keras.layers.BatchNormalization(dtype="float64")
    stock.build(inputs.shape)
    assert second_order_error(stock, inputs) > 1e-2
    ```
    """
    _check_float64(layer)
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
    errors, doubts = [], []
    # Inputs and weights move apart, and each part of the gradient counts by itself: otherwise
    # the large derivatives for some would hide errors of the small ones.
    for group in (range(len(moved)), range(len(moved), len(point))):
        if not group:
            continue
        direction = [_direction(rng, x) if i in group else x * 0 for i, x in enumerate(point)]
        settled, sizes, disagreements = _settled(traced_gradient, point, direction, scales)
        doubts += disagreements
        parts = zip(traced_product(point, direction), settled, sizes, strict=True)
        errors += [_norm(f - d) / size for f, d, size in parts]
    return _worst(errors, doubts)


def _settled(
    gradient: Callable, point: list[Any], direction: list[Any], scales: list[float]
) -> tuple[list[Any], list[float], list[float]]:
    """Differences of the gradient at the steps that agree best with the next smaller one.

    Returns:
        For each part of the gradient the difference, its size, and the disagreement over the size.
    """
    coarse = _differences(gradient, point, direction, STEPS[0])
    settled, gaps = list(coarse), [math.inf] * len(coarse)
    sizes, doubts = [], []
    for step in STEPS[1:]:
        fine = _differences(gradient, point, direction, step)
        for i, (a, b) in enumerate(zip(coarse, fine, strict=True)):
            gap = _norm(a - b)
            if gap < gaps[i]:
                settled[i], gaps[i] = a, gap
        coarse = fine
        norms = [_norm(d) for d in settled]
        least = max(NEGLIGIBLE * max(norms), np.finfo("float64").tiny)
        sizes = [max(n, NEGLIGIBLE * s, least) for n, s in zip(norms, scales, strict=True)]
        doubts = [gap / size for gap, size in zip(gaps, sizes, strict=True)]
        if max(doubts) <= SETTLED:
            break
    return settled, sizes, doubts


def _worst(errors: list[float], doubts: list[float]) -> float:
    """The largest error that the differences can tell."""
    told = [e for e, d in zip(errors, doubts, strict=True) if d <= max(OPEN, e / CERTAIN)]
    fault = max(told, default=0.0)
    if len(told) < len(errors) and not fault > TOLERANCE:
        raise ArithmeticError(
            f"Differences of the gradient do not settle: two steps disagree by {max(doubts):.1e}. "
            "The point lies on a kink, or something computes in less than float64."
        )
    return fault


def _check_float64(layer: keras.layers.Layer) -> None:
    for part in flat_layers(layer):
        dtype = part.dtype if isinstance(part, keras.layers.InputLayer) else part.compute_dtype
        if "float" in dtype and dtype != "float64":
            raise ValueError(
                f"{part.name!r} ({type(part).__name__}) in {layer.name!r} has the dtype {dtype}, "
                "in which differences of gradients are lost; make it with dtype='float64', and "
                "models after keras.config.set_floatx('float64')."
            )


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
