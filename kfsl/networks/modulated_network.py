"""A finished network whose weights a task's embedding modulates."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kfsl.layers.film_generator import FiLMGenerator
from kfsl.layers.kernel_modulation import KernelModulation
from kfsl.layers.normalization import BatchNormalization, moments_scope
from kfsl.layers.task_encoder import TaskEncoder
from kfsl.networks.adapted_network import AdaptedNetwork
from kfsl.networks.keras_private import graph_of, nodes
from kfsl.networks.replaced_weights import call_with, starting_weights

#: FiLM, and the two forms of kernel modulation.
GENERATORS = ("film", "factorised", "full")
EMBEDDING = "task_embedding"

_NORMALIZATIONS = (BatchNormalization, keras.layers.BatchNormalization)


class WeightModulation:
    """Makes a network's weights of a task's embedding.

    Kernel modulation acts on the kernels and biases of convolutions, and of dense layers by
    choice. FiLM acts where MMAML has it, behind the batch normalisation that follows a layer: its
    factors and offsets are those of the normalisation, which multiplies and adds; where none
    follows, those of the layer itself.

    Args:
        network: `keras.Model`, functional.
        generator: str. `"film"`, `"factorised"` or `"full"`.
        size: int. Numbers in the embedding.
        dense: bool. Whether dense layers are modulated too.
        residual: bool. See `KernelModulation`.
        dtype: Keras dtype policy of the generators.

    Raises:
        ValueError: for another generator, a network without a layer to modulate, or FiLM behind a
            normalisation without factors or offsets.
    """

    def __init__(
        self,
        network: keras.Model,
        generator: str,
        size: int,
        dense: bool = False,
        residual: bool = True,
        dtype: Any = None,
    ) -> None:
        if generator not in GENERATORS:
            raise ValueError(
                f"`generator` must be one of {GENERATORS}; received generator={generator!r}."
            )
        kinds = (keras.layers.Conv2D, keras.layers.Dense) if dense else (keras.layers.Conv2D,)
        calls = [node for node in nodes(graph_of(network)) if isinstance(node.operation, kinds)]
        if not calls:
            raise ValueError(f"The network {network.name!r} has no convolution to modulate.")
        self.generator = generator
        self.residual = residual
        self._places = {v.path: i for i, v in enumerate(network.trainable_variables)}
        self.modulated: list[tuple[int, int | None]] = []
        self.generators: list[keras.layers.Layer] = []
        for call in calls:
            self._add(network, call, size, dtype)

    def _add(self, network: keras.Model, call: Any, size: int, dtype: Any) -> None:
        layer = call.operation
        factor, offset, name = layer.kernel, layer.bias if layer.use_bias else None, layer.name
        if self.generator == "film":
            normalization = _normalization_behind(network, call)
            if normalization is not None:
                factor, offset = (getattr(normalization, part, None) for part in ("gamma", "beta"))
                name = normalization.name
            if factor is None or offset is None:
                raise ValueError(
                    f"FiLM behind {layer.name!r} needs a factor and an offset to act on, and "
                    f"{name!r} lacks one. Give the backbone batch normalisation with both, or "
                    "choose generator='factorised'."
                )
        self.modulated.append(
            (self._places[factor.path], None if offset is None else self._places[offset.path])
        )
        if self.generator == "film":
            made = FiLMGenerator(
                channels=factor.shape[-1],
                # PyTorch's default, as of the other generators.
                kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
                dtype=dtype,
                name=f"film_{name}",
            )
        else:
            made = KernelModulation(
                factor.shape, offset is not None, self.generator, self.residual, dtype=dtype,
                name=f"modulation_{layer.name}",
            )  # fmt: skip
        made.build((size,))
        self.generators.append(made)

    def weights(self, embedding: Any, own: Sequence[Any]) -> dict[int, Any]:
        """Modulated weights, in place of the network's own.

        Args:
            embedding: tensor, `[size]`.
            own: sequence of tensors, the values of all trainable variables.

        Returns:
            dict from positions among the trainable variables to tensors.
        """
        found = {}
        for (factor_at, offset_at), generator in zip(self.modulated, self.generators, strict=True):
            factors, offsets = generator(embedding)
            if self.generator == "film" and self.residual:
                factors = 1.0 + factors
            weight = own[factor_at]
            found[factor_at] = weight * keras.ops.cast(factors, weight.dtype)
            if offset_at is None:
                continue
            offset = own[offset_at]
            if self.generator == "film":
                # The factor is of the sum: eta (w x + b) + gamma.
                offset = offset * keras.ops.cast(factors, offset.dtype)
            found[offset_at] = offset + keras.ops.cast(offsets, offset.dtype)
        return found


class ModulatedNetwork(AdaptedNetwork):
    """A network whose weights are modulated by a task's embedding; nothing adapts but that.

    Args:
        network: `keras.Model`, built.
        encoder: `TaskEncoder`.
        modulation: `WeightModulation` of the network.
        policy: str. Which moments normalise in the encoder outside training: `"running"`, or
            those of the support set.
    """

    def __init__(
        self,
        network: keras.Model,
        encoder: TaskEncoder,
        modulation: WeightModulation,
        policy: str,
    ) -> None:
        super().__init__(network, ())
        self.encoder = encoder
        self.modulation = modulation
        self.policy = policy

    @property
    def keys(self) -> list[str]:
        return [EMBEDDING]

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        """The task's embedding, of its support images alone."""
        del seed
        return {EMBEDDING: embedding_of(self.encoder, task, self.policy)}

    def __call__(self, weights: Sequence[Any], inputs: Any, training: bool) -> tuple[Any, Any]:
        (embedding,) = weights
        own = starting_weights(self.network.trainable_variables)
        replaced = self.modulation.weights(embedding, own)
        return call_with(self.network, replaced, inputs, training)


class ModulatedStart(AdaptedNetwork):
    """A network that gradient steps adapt from weights that a task's embedding modulates.

    Args:
        network: `keras.Model`, built.
        positions: sequence of int. See `AdaptedNetwork`; what is modulated adapts too.
        encoder: `TaskEncoder`.
        modulation: `WeightModulation` of the network.
        policy: str. See `ModulatedNetwork`.
    """

    def __init__(
        self,
        network: keras.Model,
        positions: Sequence[int],
        encoder: TaskEncoder,
        modulation: WeightModulation,
        policy: str,
    ) -> None:
        modulated = [i for pair in modulation.modulated for i in pair if i is not None]
        super().__init__(network, sorted({*positions, *modulated}))
        self.encoder = encoder
        self.modulation = modulation
        self.policy = policy

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        del seed
        embedding = embedding_of(self.encoder, task, self.policy)
        own = starting_weights(self.network.trainable_variables)
        modulated = self.modulation.weights(embedding, own)
        return {
            key: modulated.get(position, own[position])
            for key, position in zip(self.keys, self.positions, strict=True)
        }


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
        scope = moments_scope(1, mask=mask, update=averages)
    with scope:
        embedding = encoder(task["inputs"], mask, training=training)
    # The weights that it modulates are not of half precision either.
    return keras.ops.cast(embedding, keras.backend.result_type(embedding.dtype, "float32"))


def _normalization_behind(network: keras.Model, call: Any) -> Any:
    """The batch normalisation that alone reads what a layer gives; None if there is none."""
    output = call.output_tensors[0]
    readers = [
        node.operation
        for node in nodes(graph_of(network))
        if any(tensor is output for tensor in node.input_tensors)
    ]
    if len(readers) == 1 and isinstance(readers[0], _NORMALIZATIONS):
        return readers[0]
    return None
