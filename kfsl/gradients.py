"""Differentiation: gradients of a loss for weights given as tensors, and the one inner loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

Weights = list[Any]
#: (weights, step) -> scalar; the step, an int tensor, chooses the mini-batch where a method has
#: them.
LossFunction = Callable[[Weights, Any], Any]

#: Up to so many steps are written out one after another; more make a `tf.while_loop`.
MOST_UNROLLED = 5


class UpdateRule(Protocol):
    """How one inner step changes the weights.

    A rule keeps nothing: what it has to remember from step to step is its state, a flat list
    of tensors that `init` makes.
    """

    def init(self, weights: Weights) -> list[Any]:
        """The state before the first step."""

    def step(self, loss: InnerLoss, weights: Weights, state: list[Any]) -> tuple[Any, Any, Any]:
        """One step: the new weights, the new state, and the loss before the step."""


@dataclasses.dataclass(frozen=True)
class InnerLoss:
    """The loss of one inner step, which can be evaluated and differentiated.

    Args:
        function: `(weights, step) -> scalar`.
        step: int or int tensor, from 0.
        first_order: bool. Gradients are constants for whoever differentiates again.
        clip: float or None. Gradients are clamped elementwise to `[-clip, clip]`.
        noise: float. Standard deviation of Gaussian noise on each entry of the gradient.
        seed: int tensor `[2]` or None; needed with noise.
    """

    function: LossFunction
    step: Any = 0
    first_order: bool = False
    clip: float | None = None
    noise: float = 0.0
    seed: Any = None

    def __call__(self, weights: Weights) -> Any:
        return self.function(weights, self.step)

    def value_and_grad(self, weights: Weights) -> tuple[Any, Weights]:
        """The loss, and its gradient for each weight; clipped, then made noisy.

        Args:
            weights: list of tensors.

        Returns:
            Scalar, and a list of tensors of the weights' shapes.
        """
        value, gradients = value_and_grad(self, weights)
        if self.first_order:
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
        if self.clip is not None:
            gradients = [tf.clip_by_value(g, -self.clip, self.clip) for g in gradients]
        if self.noise:
            gradients = [g + self._noise(i, g) for i, g in enumerate(gradients)]
        return value, gradients

    def _noise(self, index: int, gradient: Any) -> Any:
        # int32, which XLA and the CPU fold alike; one draw for each step and tensor.
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.step)
        seed = tf.random.experimental.stateless_fold_in(seed, index)
        shape, dtype = tf.shape(gradient), gradient.dtype
        draw = tf.random.stateless_normal(shape, seed, dtype=dtype, alg="philox")
        return self.noise * draw


def value_and_grad(function: Callable[[Weights], Any], weights: Weights) -> tuple[Any, Weights]:
    """A scalar function of tensors and its gradient, which can be differentiated again.

    Args:
        function: `weights -> scalar`.
        weights: list of tensors (no variables: take their values).

    Returns:
        The value, and a list of gradients; zeros for weights that the value does not depend on.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.gradients import value_and_grad

    value, (gradient,) = value_and_grad(lambda w: tf.reduce_sum(w[0] ** 3), [tf.constant([2.0])])
    assert value == 8.0 and gradient[0] == 12.0
    ```
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        value = function(weights)
    gradients = tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Those of embeddings come as rows.
    return value, [tf.convert_to_tensor(gradient) for gradient in gradients]


def inner_loop(
    loss: LossFunction,
    weights: Weights,
    rule: UpdateRule,
    steps: int | Any,
    *,
    first_order: bool = False,
    clip: float | None = None,
    noise: float = 0.0,
    seed: Any = None,
    differentiated: bool = True,
) -> tuple[Weights, Any]:
    """Adapts weights to a task; an outer tape sees through every step, to the second order.

    Args:
        loss: `(weights, step) -> scalar`, the task's loss.
        weights: list of tensors, the weights before the first step.
        rule: `UpdateRule`, such as `kfsl.update_rules.sgd.SGD`.
        steps: int or int tensor, at least 0. Up to `MOST_UNROLLED` steps are unrolled; more, or
            a tensor, make a `tf.while_loop`. Both give the same numbers.
        first_order: bool. Stops the gradient at each inner gradient (first-order MAML).
        clip: float or None. Clamps inner gradients elementwise.
        noise: float. Standard deviation of noise added to the inner gradients.
        seed: int tensor `[2]` or None; needed with noise.
        differentiated: bool. Whether an outer tape looks on. Without, the first call of a graph
            comes earlier.

    Returns:
        The adapted weights, and the losses before each step, `[steps]`: constants for an outer
        tape.

    Raises:
        ValueError: for a negative number of steps, or noise without seed.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), equation 1.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.gradients import inner_loop
    from kfsl.update_rules.sgd import SGD

    # w - 0.1 * 2w, twice.
    (weight,), losses = inner_loop(lambda w, step: w[0] ** 2, [tf.constant(1.0)], SGD(0.1), 2)
    assert abs(float(weight) - 0.64) < 1e-6 and losses.shape == (2,)
    ```
    """
    if isinstance(steps, int) and steps < 0:
        raise ValueError(f"An inner loop needs 0 steps or more; received steps={steps}.")
    if noise and seed is None:
        raise ValueError(f"Gradient noise needs a seed; received noise={noise} and no seed.")

    def one(step: Any, weights: Weights, state: list[Any]) -> tuple[Weights, list[Any], Any]:
        inner = InnerLoss(loss, step, first_order, clip, noise, seed)
        weights, state, value = rule.step(inner, weights, state)
        # Or gradients of loops and calls carry zeros back through losses without gradient.
        return weights, state, tf.stop_gradient(tf.cast(value, "float32"))

    state = rule.init(weights)
    if isinstance(steps, int) and steps <= MOST_UNROLLED:
        if not differentiated and not tf.executing_eagerly():
            # Python writes one step down, and the graph calls it. Differentiated calls are slower
            # than differentiated steps: oneDNN pools where it sees the pooling's derivative too.
            one = tf.function(one, autograph=False)
        return _unrolled(one, weights, state, steps)
    return _looped(one, weights, state, steps)


def _unrolled(one: Callable, weights: Weights, state: list[Any], steps: int) -> tuple[Weights, Any]:
    losses = []
    for step in range(steps):
        weights, state, value = one(tf.constant(step), list(weights), list(state))
        losses.append(value)
    return weights, tf.stack(losses) if losses else tf.zeros([0])


def _looped(one: Callable, weights: Weights, state: list[Any], steps: Any) -> tuple[Weights, Any]:
    _keep_sums_in_loops()
    losses = tf.TensorArray("float32", size=steps, element_shape=())

    def body(step: Any, weights: Weights, state: list[Any], losses: Any) -> tuple:
        weights, state, value = one(step, weights, state)
        return step + 1, weights, state, losses.write(step, value)

    limit = steps if isinstance(steps, int) else None
    _, weights, _, losses = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), list(weights), list(state), losses),
        maximum_iterations=limit,  # XLA differentiates a loop of known length alone.
    )
    return weights, losses.stack()


def _keep_sums_in_loops() -> None:
    """Switches TensorFlow's graph rewriting off in this process.

    Where it believes memory to be short (200 MB on a CPU), it makes temporary variables of sums
    in the gradient of a loop, and does not delete those of the last round: the second training
    step ends with "AlreadyExistsError: ... tmp_var". That rewriting has no switch of its own,
    and the other ones do nothing for the speed of these graphs.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
