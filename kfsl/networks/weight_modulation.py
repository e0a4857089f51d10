"""What a task's embedding makes of a network's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kfsl.layers.film_generator import FiLMGenerator
from kfsl.layers.kernel_modulation import KernelModulation
from kfsl.layers.normalization import BatchNormalization
from kfsl.networks.keras_private import graph_of, nodes
from kfsl.networks.replaced_weights import all_variables

#: FiLM, and the two forms of kernel modulation.
GENERATORS = ("film", "factorised", "full")

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


@dataclasses.dataclass(frozen=True)
class _Modulated:
    """A place in a network where a generator acts: on weights, or behind a normalisation.

    Args:
        generator: Keras layer.
        place: Keras layer. Whose weights, or behind which.
        shape: tuple of int. Of the factors, as the weight wants them.
        factor_at: int or None. Position of the weight that they multiply.
        offset_at: int or None. Position of the weight that offsets are added to.
        behind: `BatchNormalization` or None. One without factors and offsets of its own.
    """

    generator: keras.layers.Layer
    place: keras.layers.Layer
    shape: tuple[int, ...]
    factor_at: int | None = None
    offset_at: int | None = None
    behind: BatchNormalization | None = None


class WeightModulation:
    """Makes a network's weights of a task's embedding.

    Kernel modulation acts on the kernels and biases of convolutions, and of dense layers by
    choice, nested models' too and frozen ones; a layer that is called twice is modulated once, and
    so is a normalisation behind two layers.
    FiLM acts where MMAML has it, behind the batch normalisation that follows a layer: on the
    normalisation's own factors and offsets where it has both, and else on what it gives, in a
    `film_scope`; where none follows, on the kernel and bias of the layer itself.

    Args:
        network: `keras.Model`, functional.
        generator: str. `"film"`, `"factorised"` or `"full"`.
        size: int. Numbers in the embedding.
        dense: bool. Whether dense layers are modulated too.
        residual: bool. See `KernelModulation`.
        dtype: Keras dtype policy of the generators.

    Raises:
        ValueError: for another generator, a network without a layer to modulate or with
            convolutions of a kind that is not modulated, or FiLM behind one of Keras's own
            normalisations without factors or offsets, or of a layer without bias.
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
        make = self._film if generator == "film" else self._kernel_modulation
        self.modulated: list[_Modulated] = []
        for layer_calls in calls:
            made = make(layer_calls, dtype)
            if any(made.place is other.place for other in self.modulated):
                continue  # A normalisation behind two layers.
            made.generator.build((size,))
            self.modulated.append(made)

    @property
    def generators(self) -> list[keras.layers.Layer]:
        """One for each place that is modulated."""
        return [each.generator for each in self.modulated]

    def _kernel_modulation(self, calls: list[tuple[Any, Any]], dtype: Any) -> _Modulated:
        layer = calls[0][0].operation
        generator = KernelModulation(
            _by_output(layer.kernel.shape, layer), layer.use_bias, self.generator, self.residual,
            dtype=dtype, name=f"modulation_{layer.name}",
        )  # fmt: skip
        offset_at = self._places[id(layer.bias)] if layer.use_bias else None
        factor_at = self._places[id(layer.kernel)]
        return _Modulated(generator, layer, layer.kernel.shape, factor_at, offset_at)

    def _film(self, calls: list[tuple[Any, Any]], dtype: Any) -> _Modulated:
        layer = calls[0][0].operation
        # Behind a layer that is called twice, two normalisations would follow.
        normalization = _normalization_behind(*calls[0]) if len(calls) == 1 else None
        place, names = (layer, ("kernel", "bias")) if normalization is None else (
            normalization, ("gamma", "beta")
        )  # fmt: skip
        factor, offset = (getattr(place, name, None) for name in names)
        by_output = _by_output(layer.kernel.shape, layer)
        generator = FiLMGenerator(
            channels=by_output[-1],
            # PyTorch's default but for biases, as of the other generators.
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            dtype=dtype,
            name=f"film_{place.name}",
        )
        if factor is not None and offset is not None:
            # One for each output, which a depthwise kernel has on two axes.
            whole = normalization is not None or by_output == tuple(factor.shape)
            shape = (-1,) if whole else factor.shape[2:]
            at = (self._places[id(weight)] for weight in (factor, offset))
            return _Modulated(generator, place, shape, *at)
        if isinstance(normalization, BatchNormalization):
            return _Modulated(generator, place, (-1,), behind=normalization)
        raise ValueError(
            f"FiLM behind {layer.name!r} needs a factor and an offset to act on, and "
            f"{place.name!r} lacks one. Give it both, make a normalisation a "
            "kfsl.layers.BatchNormalization, or choose generator='factorised'."
        )

    def weights(self, embedding: Any, own: Sequence[Any]) -> dict[int, Any]:
        """Modulated weights, in place of the network's own.

        Args:
            embedding: tensor, `[size]`.
            own: sequence of tensors, the values of `all_variables` of the network.

        Returns:
            dict from positions among them to tensors.
        """
        found = {}
        for each in self.modulated:
            if each.factor_at is None:
                continue
            factors, offsets = self._generated(each, embedding)
            weight = own[each.factor_at]
            factors = keras.ops.cast(factors, weight.dtype)
            found[each.factor_at] = weight * keras.ops.reshape(factors, each.shape)
            if each.offset_at is None:
                continue
            offset = own[each.offset_at]
            if self.generator == "film":
                # The factor is of the sum: eta (w x + b) + gamma.
                offset = offset * keras.ops.cast(factors, offset.dtype)
            found[each.offset_at] = offset + keras.ops.cast(offsets, offset.dtype)
        return found

    def films(self, embedding: Any) -> dict[int, tuple[Any, Any]]:
        """What a `film_scope` around a call of the network is to have.

        Args:
            embedding: tensor, `[size]`.

        Returns:
            dict from a normalisation's `id` to a factor and an offset.
        """
        return {
            id(each.behind): self._generated(each, embedding)
            for each in self.modulated
            if each.behind is not None
        }

    def _generated(self, each: _Modulated, embedding: Any) -> tuple[Any, Any]:
        factors, offsets = each.generator(embedding)
        return (1.0 + factors if self.generator == "film" and self.residual else factors), offsets


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
