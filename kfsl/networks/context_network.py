"""A network that a context vector modulates, and no weight of it adapts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

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
    """A backbone with FiLM behind one of its layers; what adapts is the context of its generator.

    Args:
        backbone: `keras.Model`, functional.
        head: `Head`.
        modulated: str. Name of the layer whose output is modulated.
        context_size: int. Numbers in the context, which starts at zero.

    Raises:
        ValueError: for a layer that the backbone does not have.

    Reference:
        [Zintgraf et al., 2019](https://arxiv.org/abs/1810.03642), equations 3 and 5.
    """

    def __init__(
        self, backbone: keras.Model, head: Head, modulated: str, context_size: int
    ) -> None:
        check_graph(backbone)
        dtype = head.dtype.variable_dtype
        context = layers.Input((context_size,), dtype=dtype, name=CONTEXT)
        modulation = {modulated: _modulation(context, context_size, head.dtype)}
        maps = output_with_insertions(backbone, modulation)
        images = backbone.inputs[0]
        super().__init__(keras.Model([images, context], head(maps), name="network"), ())
        self.context_size, self.dtype = context_size, dtype

    @property
    def keys(self) -> list[str]:
        return [CONTEXT]

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        del task, seed
        return {CONTEXT: tf.zeros((self.context_size,), self.dtype)}

    def __call__(self, weights: Sequence[Any], inputs: Any, training: bool) -> tuple[Any, Any]:
        (context,) = weights
        # One row of context modulates all images.
        return call_with(self.network, {}, [inputs, context[None]], training)


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
