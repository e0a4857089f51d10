"""Multinomial logistic regression of a few samples, solved in a graph."""

from __future__ import annotations

from typing import Any

from keras import ops

from kfsl.objectives.classification import mask_absent

#: Largest entry of the residual, of labels that are 0 or 1, at which a solution is taken.
TOLERANCE = 3e-6


def multinomial_weights(
    vectors: Any, one_hot: Any, penalty: float, most_steps: int = 1000
) -> tuple[Any, Any, Any]:
    """The weights `W` and biases `b` that minimise `CE(X W + b) + penalty / 2 |W|^2`.

    `CE` is the sum of the cross-entropies; biases cost nothing. It is found in the samples' own
    coordinates, `W = X^T A`, by steps that minimise an upper bound of the loss: its Hessian is
    at most half of `X X^T` in each class, whatever the probabilities are (Boehning). So no step
    size is to be chosen, and all steps share one inverse. They have Nesterov's momentum, begun
    anew whenever it leads uphill. Nothing is drawn: the same samples give the same weights.

    Args:
        vectors: float tensor, `[B, S, D]`.
        one_hot: float tensor, `[B, S, K]`; a row of zeros is no sample, and a class that no
            sample has gets no probability.
        penalty: float. Positive; sklearn's `1 / C`.
        most_steps: int. Defaults to `1000`: unit vectors need less than 100.

    Returns:
        `W`, `[B, D, K]`; `b`, `[B, K]`; and the largest entry left of the gradient in the samples'
        coordinates, `[B]`, which is 0 at the minimum.

    Reference:
        Boehning (1992), "Multinomial logistic regression algorithm"; O'Donoghue and Candes (2015),
        "Adaptive Restart for Accelerated Gradient Schemes", section 3.2.
    """
    present = ops.sum(one_hot, axis=-1, keepdims=True)  # [B, S, 1]
    size = ops.maximum(ops.sum(present, axis=1, keepdims=True), 1.0)
    mean = ops.sum(present * vectors, axis=1, keepdims=True) / size
    # Centred, samples say nothing of the biases: both are solved for apart.
    samples = present * (vectors - mean)
    gram = ops.matmul(samples, ops.swapaxes(samples, -1, -2))
    counts = ops.sum(one_hot, axis=1)  # [B, K]
    inverse = ops.linalg.inv(0.5 * gram + penalty * ops.eye(ops.shape(gram)[-1], dtype=gram.dtype))

    def residual(dual: Any, bias: Any) -> tuple[Any, Any]:
        logits = mask_absent(ops.matmul(gram, dual) + bias, counts)
        errors = present * (ops.softmax(logits, axis=-1) - one_hot)
        return errors + penalty * dual, ops.sum(errors, axis=1, keepdims=True)

    def step(i: Any, at: Any, ahead: Any, speed: Any, left: Any) -> tuple:
        of_dual, of_bias = residual(*ahead)
        left = ops.maximum(_largest(of_dual), _largest(of_bias) / size[:, 0, 0])
        new = ahead[0] - ops.matmul(inverse, of_dual), ahead[1] - 2.0 / size * of_bias
        moved = new[0] - at[0], new[1] - at[1]
        uphill = _inner(of_dual, ops.matmul(gram, moved[0])) + _inner(of_bias, moved[1])
        speed = ops.where(uphill > 0, 1.0, speed)
        faster = 0.5 * (1.0 + ops.sqrt(1.0 + 4.0 * speed**2))
        momentum = ops.where(uphill > 0, 0.0, (speed - 1.0) / faster)
        ahead = new[0] + momentum * moved[0], new[1] + momentum * moved[1]
        return i + 1, new, ahead, faster, left

    start = ops.zeros_like(one_hot), ops.zeros_like(one_hot[:, :1])
    unsolved = ops.full_like(size[:, 0, 0], 1.0)
    _, (dual, bias), _, _, left = ops.while_loop(
        lambda i, at, ahead, speed, left: ops.any(left > TOLERANCE),
        step,
        (0, start, start, ops.ones_like(size), unsolved),
        maximum_iterations=most_steps,
    )
    weights = ops.matmul(ops.swapaxes(samples, -1, -2), dual)
    return weights, (bias - ops.matmul(mean, weights))[:, 0], left


def _largest(values: Any) -> Any:
    return ops.max(ops.abs(values), axis=(1, 2))


def _inner(a: Any, b: Any) -> Any:
    return ops.sum(a * b, axis=(1, 2), keepdims=True)
