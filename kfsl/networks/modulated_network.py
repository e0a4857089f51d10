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
from kfsl.networks.replaced_weights import all_variables, call_with, starting_weights

#: FiLM, and the two forms of kernel modulation.
GENERATORS = ("film", "factorised", "full")
EMBEDDING = "task_embedding"

_NORMALIZATIONS = (BatchNormalization, keras.layers.BatchNormalization)
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
#: They have no kernel, or none in the order of the others.
_NOT_MODULATED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


class WeightModulation:
    """Makes a network's weights of a task's embedding.

    Kernel modulation acts on the kernels and biases of convolutions, and of dense layers by
    choice, nested models' too and frozen ones; a layer that is called twice is modulated once.
    FiLM acts where MMAML has it, behind the batch normalisation that follows a layer: its factors
    and offsets are those of the normalisation, which multiplies and adds; where none follows,
    those of the layer itself.

    Args:
        network: `keras.Model`, functional.
        generator: str. `"film"`, `"factorised"` or `"full"`.
        size: int. Numbers in the embedding.
        dense: bool. Whether dense layers are modulated too.
        residual: bool. See `KernelModulation`.
        dtype: Keras dtype policy of the generators.

    Raises:
        ValueError: for another generator, a network without a layer to modulate or with
            convolutions of a kind that is not modulated, or FiLM behind a normalisation without
            factors or offsets.
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
        kinds = (*_CONVOLUTIONS, keras.layers.Dense) if dense else _CONVOLUTIONS
        calls = _calls_of_layers(network, kinds)
        if not calls:
            raise ValueError(f"The network {network.name!r} has no convolution to modulate.")
        self.generator = generator
        self.residual = residual
        self._places = {id(v): i for i, v in enumerate(all_variables(network))}
        self.modulated: list[tuple[int, int | None]] = []
        self.generators: list[keras.layers.Layer] = []
        self._shapes: list[tuple[int, ...]] = []
        for layer_calls in calls:
            self._add(layer_calls, size, dtype)

    def _add(self, calls: list[tuple[Any, Any]], size: int, dtype: Any) -> None:
        layer = calls[0][0].operation
        factor, offset, name = layer.kernel, layer.bias if layer.use_bias else None, layer.name
        if self.generator == "film":
            # Behind a layer that is called twice, two normalisations would follow.
            normalization = _normalization_behind(*calls[0]) if len(calls) == 1 else None
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
            (self._places[id(factor)], None if offset is None else self._places[id(offset)])
        )
        by_output = _by_output(factor.shape, layer)
        if self.generator == "film":
            # One for each output, which a depthwise kernel has on two axes.
            self._shapes.append((-1,) if by_output == tuple(factor.shape) else factor.shape[2:])
            made = FiLMGenerator(
                channels=by_output[-1],
                # PyTorch's default, as of the other generators.
                kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
                dtype=dtype,
                name=f"film_{name}",
            )
        else:
            self._shapes.append(factor.shape)
            made = KernelModulation(
                by_output, offset is not None, self.generator, self.residual,
                dtype=dtype, name=f"modulation_{layer.name}",
            )  # fmt: skip
        made.build((size,))
        self.generators.append(made)

    def weights(self, embedding: Any, own: Sequence[Any]) -> dict[int, Any]:
        """Modulated weights, in place of the network's own.

        Args:
            embedding: tensor, `[size]`.
            own: sequence of tensors, the values of `all_variables` of the network.

        Returns:
            dict from positions among them to tensors.
        """
        found = {}
        parts = zip(self.modulated, self.generators, self._shapes, strict=True)
        for (factor_at, offset_at), generator, shape in parts:
            factors, offsets = generator(embedding)
            if self.generator == "film" and self.residual:
                factors = 1.0 + factors
            weight = own[factor_at]
            factors = keras.ops.cast(factors, weight.dtype)
            found[factor_at] = weight * keras.ops.reshape(factors, shape)
            if offset_at is None:
                continue
            offset = own[offset_at]
            if self.generator == "film":
                # The factor is of the sum: eta (w x + b) + gamma.
                offset = offset * keras.ops.cast(factors, offset.dtype)
            found[offset_at] = offset + keras.ops.cast(offsets, offset.dtype)
        return found


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
        self.encoder = encoder
        self.modulation = modulation
        self.policy = policy

    @property
    def keys(self) -> list[str]:
        return [*super().keys, EMBEDDING]

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
        scope = moments_scope(1, mask=mask, update=averages)
    with scope:
        embedding = encoder(task["inputs"], mask, training=training)
    # The weights that it modulates are not of half precision either.
    return keras.ops.cast(embedding, keras.backend.result_type(embedding.dtype, "float32"))


def _calls_of_layers(network: keras.Model, kinds: tuple) -> list[list[tuple[Any, Any]]]:
    """The calls of each layer of some kinds, with the graph they are in, nested graphs too."""
    found: dict[int, list[tuple[Any, Any]]] = {}
    others: list[str] = []

    def look(graph: Any) -> None:
        for node in nodes(graph):
            operation = node.operation
            if isinstance(operation, _NOT_MODULATED):
                others.append(f"{operation.name!r} ({type(operation).__name__})")
            elif isinstance(operation, kinds):
                found.setdefault(id(operation), []).append((node, graph))
            elif graph_of(operation) is not None:
                look(graph_of(operation))

    look(graph_of(network))
    if others:
        raise ValueError(
            f"Convolutions are modulated whose kernels are [y, x, in, out], and depthwise ones; "
            f"{network.name!r} has {', '.join(others)} too. Take another backbone."
        )
    return list(found.values())


def _by_output(shape: Sequence[int], layer: keras.layers.Layer) -> tuple[int, ...]:
    """A weight's shape as if its last axis were the outputs alone, as of a depthwise kernel."""
    if isinstance(layer, keras.layers.DepthwiseConv2D) and len(shape) == 4:
        return (*shape[:2], 1, shape[2] * shape[3])
    return tuple(shape)


def _normalization_behind(call: Any, graph: Any) -> Any:
    """The batch normalisation that alone reads what a layer gives; None if there is none."""
    output = call.output_tensors[0]
    readers = [
        node.operation
        for node in nodes(graph)
        if any(tensor is output for tensor in node.input_tensors)
    ]
    if len(readers) == 1 and isinstance(readers[0], _NORMALIZATIONS):
        return readers[0]
    return None
