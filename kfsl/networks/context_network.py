"""A network that a context vector modulates, and no weight of it adapts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from kfsl.layers.film import FiLM
from kfsl.layers.film_generator import FiLMGenerator
from kfsl.networks.adapted_network import AdaptedNetwork
from kfsl.networks.head import Head, check_graph
from kfsl.networks.insertion import output_with_insertions
from kfsl.networks.replaced_weights import call_with

CONTEXT = "context"

#: Uniform within sqrt(3 / inputs) of zero: how the authors' program begins dense layers.
INITIALIZER = "lecun_uniform"


class ContextNetwork(AdaptedNetwork):
    """A network of inputs and a context; what adapts is the context.

    Args:
        network: `keras.Model` of two inputs: those of a task, and one row of context.
        context_size: int. Numbers in the context, which starts at zero.
        dtype: dtype of the context.

    Reference:
        [Zintgraf et al., 2019](https://arxiv.org/abs/1810.03642), equations 3 and 5.
    """

    def __init__(self, network: keras.Model, context_size: int, dtype: str) -> None:
        super().__init__(network, ())
        self.context_size, self.dtype = context_size, dtype

    @property
    def keys(self) -> list[str]:
        return [CONTEXT]

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        del task, seed
        return {CONTEXT: tf.zeros((self.context_size,), self.dtype)}

    def __call__(self, weights: Sequence[Any], inputs: Any, training: bool) -> tuple[Any, Any]:
        (context,) = weights
        # One row of context serves all inputs.
        return call_with(self.network, {}, [inputs, context[None]], training)


def modulated_by_context(
    backbone: keras.Model, head: Head, modulated: str, context_size: int
) -> ContextNetwork:
    """A backbone with FiLM behind one of its layers, whose factors come from the context.

    Args:
        backbone: `keras.Model`, functional.
        head: `Head`.
        modulated: str. Name of the layer whose output is modulated.
        context_size: int.

    Returns:
        `ContextNetwork`.

    Raises:
        ValueError: for a layer that the backbone does not have.
    """
    check_graph(backbone)
    context = _context(context_size, head)
    modulation = {modulated: _modulation(context, context_size, head.dtype)}
    maps = output_with_insertions(backbone, modulation)
    network = keras.Model([backbone.inputs[0], context], head(maps), name="network")
    return ContextNetwork(network, context_size, head.dtype.variable_dtype)


def joined_by_context(backbone: keras.Model, head: Head, context_size: int) -> ContextNetwork:
    """A backbone whose inputs are those of the task with the context behind them.

    Args:
        backbone: `keras.Model`, functional, of inputs `[n, d + context_size]`.
        head: `Head`.
        context_size: int.

    Returns:
        `ContextNetwork`.

    Raises:
        ValueError: for a backbone of images, or of too few numbers.
    """
    check_graph(backbone)
    shape = tuple(backbone.inputs[0].shape[1:])
    if len(shape) != 1 or shape[0] is None or shape[0] <= context_size:
        raise ValueError(
            f"A context of {context_size} numbers joins the inputs of the backbone, which has to "
            f"take more numbers than that; it takes {shape}. Give it their sum, such as "
            f"MLP.image_shape = ({2 + context_size},) for the places of pixels."
        )
    inputs = layers.Input(
        (shape[0] - context_size,), dtype=head.dtype.variable_dtype, name="inputs"
    )
    context = _context(context_size, head)
    joined = _Joined(dtype=head.dtype, name="joined")([inputs, context])
    network = keras.Model([inputs, context], head(backbone(joined)), name="network")
    return ContextNetwork(network, context_size, head.dtype.variable_dtype)


@keras.saving.register_keras_serializable(package="kfsl")
class _Joined(layers.Layer):
    """`[n, d]` and one row `[1, c]` -> `[n, d + c]`."""

    def call(self, inputs: Any) -> Any:
        rows, context = inputs
        repeated = ops.broadcast_to(context, (ops.shape(rows)[0], context.shape[-1]))
        return ops.concatenate([rows, repeated], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        rows, context = input_shape
        return (rows[0], rows[1] + context[1])


def _context(context_size: int, head: Head) -> Any:
    return layers.Input((context_size,), dtype=head.dtype.variable_dtype, name=CONTEXT)


def _modulation(context: Any, context_size: int, dtype: Any) -> Callable[[Any], Any]:
    bound = 1.0 / math.sqrt(context_size)

    def modulation(maps: Any) -> Any:
        gamma, beta = FiLMGenerator(
            kernel_initializer=INITIALIZER,
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            channels=maps.shape[-1],
            dtype=dtype,
            name="film_parameters",
        )(context)
        return FiLM(dtype=dtype, name="film")(maps, gamma, beta)

    return modulation
