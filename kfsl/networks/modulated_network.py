"""A finished network whose weights a task's embedding modulates."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kfsl.distribution import replicas
from kfsl.layers.film_scope import film_scope
from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.task_encoder import TaskEncoder
from kfsl.networks.adapted_network import AdaptedNetwork
from kfsl.networks.replaced_weights import all_variables, call_with, starting_weights
from kfsl.networks.stock_normalization import refuse_stock_normalization
from kfsl.networks.weight_modulation import WeightModulation

EMBEDDING = "task_embedding"


class ModulatedNetwork(AdaptedNetwork):
    """A network whose weights are modulated by a task's embedding.

    The embedding is made once, of the task's support images, and no step changes it; each call
    modulates the weights as they then are, those that gradient steps adapt among them.

    Args:
        network: `keras.Model`, built.
        encoder: `TaskEncoder`.
        modulation: `WeightModulation` of the network.
        policy: str. Which moments normalise in the encoder outside training: `"running"`, or
            those of the support set.
        positions: sequence of int. See `AdaptedNetwork`; none: nothing adapts but the modulation.

    Raises:
        ValueError: for an encoder with Keras's own batch normalisation, unless it is frozen.
    """

    def __init__(
        self,
        network: keras.Model,
        encoder: TaskEncoder,
        modulation: WeightModulation,
        policy: str,
        positions: Sequence[int] = (),
    ) -> None:
        super().__init__(network, positions)
        refuse_stock_normalization("encoder", encoder.network)
        self.encoder = encoder
        self.modulation = modulation
        self.policy = policy

    @property
    def keys(self) -> list[str]:
        return [*super().keys, EMBEDDING]

    @property
    def networks(self) -> list[Any]:
        return [self.network, self.encoder]

    @property
    def fixed(self) -> int:
        return 1

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        """The adapted weights, and the task's embedding, of its support images alone."""
        del seed
        own = dict(zip(super().keys, starting_weights(self.variables), strict=True))
        return {**own, EMBEDDING: embedding_of(self.encoder, task, self.policy)}

    def __call__(self, weights: Sequence[Any], inputs: Any, training: bool) -> tuple[Any, Any]:
        *adapted, embedding = weights
        replaced = dict(zip(self.positions, adapted, strict=True))
        own = starting_weights(all_variables(self.network))
        current = [replaced.get(i, weight) for i, weight in enumerate(own)]
        replaced |= self.modulation.weights(embedding, current)
        with film_scope(self.modulation.films(embedding)):
            return call_with(self.network, replaced, inputs, training)


def embedding_of(encoder: TaskEncoder, task: Mapping[str, Any], policy: str) -> Any:
    """A task's embedding; its support set has moments of its own unless averages normalise.

    Args:
        encoder: `TaskEncoder`.
        task: mapping with one task's `inputs`, `[S, ...]`, `mask` and `training`.
        policy: str. See `ModulatedNetwork`.

    Returns:
        Tensor of at least float32, `[size]`.
    """
    mask, training = task.get("mask"), task.get("training", False)
    averages = policy == "running"
    scope: Any = contextlib.nullcontext()
    if training or not averages:
        scope = moments_scope(1, mask=mask, update=averages, every=replicas.count())
    with scope:
        embedding = encoder(task["inputs"], mask, training=training)
    # The weights that it modulates are not of half precision either.
    return keras.ops.cast(embedding, keras.backend.result_type(embedding.dtype, "float32"))
