"""Loops over the tasks of a meta-batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from kfsl.distribution import replicas
from kfsl.episodes import SEED


def map_tasks(function: Callable, inputs: dict[str, Any]) -> Any:
    """Applies a function of one task to each task of a meta-batch.

    Args:
        function: dict of tensors without meta-batch axis -> tensor or dict of tensors.
        inputs: dict of tensors, `[B, ...]`.

    Returns:
        What the function returns, with axis `B` in front.
    """
    if next(iter(inputs.values())).shape[0] == 1:
        outputs = function({key: value[0] for key, value in inputs.items()})
        return tf.nest.map_structure(lambda tensor: tensor[None], outputs)
    if tf.executing_eagerly():
        tasks = [
            function({key: value[i] for key, value in inputs.items()})
            for i in range(next(iter(inputs.values())).shape[0])
        ]
        return tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *tasks)
    # Traced once: for what it returns, and as what is mapped.
    first = {key: value[0] for key, value in inputs.items()}
    traced = tf.function(function, autograph=False).get_concrete_function(first)
    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), traced.structured_outputs
    )
    return tf.map_fn(traced, inputs, fn_output_signature=signature)


def accumulate_tasks(
    loss_and_gradients: Callable[[dict[str, Any], Any], tuple],
    episode: dict[str, Any],
    query_labels: Any,
    weights: Sequence[keras.Variable],
    outputs: Mapping[str, tuple[int, ...]],
    parallel: int = 1,
) -> tuple[dict[str, Any], Any, list[Any]]:
    """Loss and gradients of a meta-batch, task by task.

    The tape of a task ends with the task, so memory does not grow with the meta-batch, but with
    the tasks that overlap.

    Args:
        loss_and_gradients: function of an episode and query labels with `B = 1`, as
            `Learner.loss_and_gradients`.
        episode: dict of tensors, `[B, ...]`; `seed`, `[2]`, belongs to the first task.
        query_labels: int tensor, `[B, Q]`.
        weights: sequence of variables, which the gradients are of.
        outputs: mapping from the names of outputs that are kept to their shapes in one task.
        parallel: int. Tasks at once, at most; the next begins when the loss of one is computed,
            since metrics move in order.

    Returns:
        A dict of the kept outputs, `[B, ...]`; the mean loss; and the mean gradients.
    """
    count = tf.shape(query_labels)[0]
    seed = episode.get(SEED)
    apart = {key: value for key, value in episode.items() if key != SEED}

    def body(task: Any, loss: Any, sums: list[Any], kept: dict[str, Any]) -> tuple:
        one = {key: tf.gather(value, [task]) for key, value in apart.items()}
        if seed is not None:
            one[SEED] = seed + tf.cast([0, task * replicas.count()], tf.int64)
        found_outputs, task_loss, found = loss_and_gradients(one, tf.gather(query_labels, [task]))
        # None: a weight that the loss does not reach, such as the rate of a loop without steps.
        sums = [
            total if gradient is None else total + tf.convert_to_tensor(gradient)
            for total, gradient in zip(sums, found, strict=True)
        ]
        loss = loss + tf.cast(task_loss, loss.dtype)
        kept = {
            name: array.write(task, tf.cast(found_outputs[name][0], precision))
            for name, array in kept.items()
        }
        return task + 1, loss, sums, kept

    zeros = [tf.zeros(weight.shape, weight.dtype) for weight in weights]
    # Of what is measured: at least single.
    precision = keras.backend.result_type(*(weight.dtype for weight in weights), "float32")
    arrays = {
        name: tf.TensorArray(precision, size=count, element_shape=shape)
        for name, shape in outputs.items()
    }
    _, loss, sums, kept = tf.while_loop(
        lambda task, *_: task < count,
        body,
        (tf.constant(0), tf.zeros((), precision), zeros, arrays),
        maximum_iterations=query_labels.shape[0],
        parallel_iterations=parallel,
    )
    means = [total / tf.cast(count, total.dtype) for total in sums]
    stacked = {name: array.stack() for name, array in kept.items()}
    return stacked, loss / tf.cast(count, loss.dtype), means


def task_seeds(images: Any, seed: Any) -> Any:
    """A seed for each task of a meta-batch.

    Args:
        images: tensor, `[B, ...]`.
        seed: int tensor `[2]`, stream and number of the first task; or None for zeros.

    Returns:
        int64 tensor, `[B, 2]`.
    """
    # A replica has one in so many tasks of a meta-batch.
    numbers = replicas.count() * tf.range(tf.shape(images)[0], dtype=tf.int64)
    if seed is None:
        numbers = numbers + tf.cast(replicas.number(), tf.int64)
        return tf.stack([tf.zeros_like(numbers), numbers], axis=1)
    seed = tf.cast(seed, tf.int64)
    return tf.stack([tf.zeros_like(numbers) + seed[0], seed[1] + numbers], axis=1)
