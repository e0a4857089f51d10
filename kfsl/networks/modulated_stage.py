"""What a backbone does from one modulated layer to the next."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from kfsl.networks.insertion import segments
from kfsl.networks.keras_private import graph_of, nodes

#: Activations that never fall, through which the largest value of a window stays the largest.
MONOTONE = ("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "tanh")


@dataclasses.dataclass(frozen=True)
class ModulatedStage:
    """The layers behind a modulated one, up to the next: pools, activations, then the rest.

    A modulation may change places with the pools, and the pools with the activations; see
    `CrossModulation`.

    Args:
        name: str. The modulated layer's.
        pools: tuple of max pooling layers.
        activations: tuple of layers whose activations never fall.
        rest: `keras.Model`, or None where nothing is left.
    """

    name: str
    pools: tuple[layers.Layer, ...]
    activations: tuple[layers.Layer, ...]
    rest: keras.Model | None

    def __call__(self, modulation: Callable[..., Any], x: Any, other: Any, training: bool) -> Any:
        """Modulates maps, and takes them to the end of the stage.

        Args:
            modulation: function of `x`, `other` and `pools`, such as a `CrossModulation`.
            x: maps to modulate, `[..., h, w, C]`.
            other: what modulates them.
            training: bool.

        Returns:
            Maps `[..., h', w', C']`, or vectors.
        """
        maps = modulation(x, other, pools=self.pools)
        for layer in self.activations:
            maps = layer(maps)
        if self.rest is None:
            return maps
        lead = len(maps.shape) - len(self.rest.input_shape) + 1
        shape = keras.ops.shape(maps)
        outputs = self.rest(keras.ops.reshape(maps, (-1, *shape[lead:])), training=training)
        return keras.ops.reshape(outputs, (*shape[:lead], *keras.ops.shape(outputs)[1:]))


@dataclasses.dataclass(frozen=True)
class StagedBackbone:
    """A backbone cut behind its modulated layers.

    Not a model of its own: its layers are the backbone's, which a learner counts and saves once.

    Args:
        trunk: `keras.Model`. What comes before the first modulation, that layer included.
        stages: tuple of `ModulatedStage`, in the order of the backbone.
    """

    trunk: keras.Model
    stages: tuple[ModulatedStage, ...]


def staged_backbone(backbone: keras.Model, modulated: Sequence[str]) -> StagedBackbone:
    """Cuts a backbone behind its modulated layers.

    Args:
        backbone: functional `keras.Model` of one input.
        modulated: names of layers.

    Returns:
        `StagedBackbone`.

    Raises:
        ValueError: if there is no such layer, it is called several times, or it is not the only
            way to what follows.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.networks.modulated_stage import staged_backbone

    backbone = Conv4(image_shape=(28, 28, 1), filters=4)
    staged = staged_backbone(backbone, ("block3_bn", "block4_bn"))
    third, last = staged.stages
    assert staged.trunk.output_shape == (None, 7, 7, 4)
    assert [layer.name for layer in third.pools] == ["block3_pool"]
    assert third.rest.layers[-1].name == "block4_bn" and last.rest is None
    ```
    """
    names = [layer.name for layer in backbone.layers]
    runs = {name: _monotone_run(backbone, name, modulated) for name in names if name in modulated}
    # Where a run ends, the rest of its stage begins; what lies between is the run itself.
    ends = {name: run[-1].name if run else name for name, run in runs.items()}
    cuts = {*modulated, *ends.values()}
    trunk, *pieces = segments(backbone, cuts)
    behind = dict(zip((name for name in names if name in cuts), pieces, strict=True))
    stages = (
        ModulatedStage(
            name,
            tuple(layer for layer in run if isinstance(layer, layers.MaxPooling2D)),
            tuple(layer for layer in run if not isinstance(layer, layers.MaxPooling2D)),
            behind[ends[name]],
        )
        for name, run in runs.items()
    )
    return StagedBackbone(trunk, tuple(stages))


def _monotone_run(backbone: keras.Model, name: str, modulated: Sequence[str]) -> list[layers.Layer]:
    """The pools and monotone activations that follow a layer, one after the other."""
    calls = collections.Counter(node.operation.name for node in nodes(graph_of(backbone)))
    consumers: dict[int, list[Any]] = {}
    for node in nodes(graph_of(backbone)):
        for tensor in node.input_tensors:
            consumers.setdefault(id(tensor), []).append(node)
    tensor = next(
        n.output_tensors[0] for n in nodes(graph_of(backbone)) if n.operation.name == name
    )
    run: list[layers.Layer] = []
    while True:
        found = consumers.get(id(tensor), [])
        if len(found) != 1 or found[0].operation.name in modulated:
            return run
        layer = found[0].operation
        # A run ends before a layer that is called elsewhere too: the network is cut by names.
        if not _is_monotone(layer) or calls[layer.name] > 1:
            return run
        run.append(layer)
        tensor = found[0].output_tensors[0]


def _is_monotone(layer: Any) -> bool:
    if isinstance(layer, layers.Activation):
        return getattr(layer.activation, "__name__", "") in MONOTONE
    return isinstance(layer, (layers.MaxPooling2D, layers.ReLU))
