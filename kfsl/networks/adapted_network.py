"""What an episode replaces in a network."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kfsl.networks.head import Head, check_graph
from kfsl.networks.replaced_weights import call_with, starting_weights


class AdaptedNetwork:
    """A Keras model, called with an episode's own values in place of some of its weights.

    Subclasses may begin elsewhere than at the model's weights, with something drawn from the
    seed or computed from the support set (`start`), or replace something else than weights
    (`keys`, `start` and `__call__`), of which no step changes the last ones (`fixed`).

    Args:
        network: `keras.Model`, built.
        positions: sequence of int. The adapted tensors among its trainable variables.

    Example:
    ```python
    import keras
    import numpy as np
    from kfsl.networks.adapted_network import AdaptedNetwork

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    adapted = AdaptedNetwork(model, positions=(0,))
    weights = [2.0 * weight for weight in adapted.start({}).values()]
    inputs = np.ones((1, 2), "float32")
    outputs, _ = adapted(weights, inputs, training=False)
    assert np.allclose(outputs, 2.0 * model(inputs))
    ```
    """

    def __init__(self, network: keras.Model, positions: Sequence[int]) -> None:
        self.network = network
        self.positions = tuple(positions)

    @property
    def variables(self) -> list[keras.Variable]:
        """The adapted weights of the network, in order."""
        return [self.network.trainable_variables[i] for i in self.positions]

    @property
    def networks(self) -> list[Any]:
        """All that an episode passes: the network, and what a subclass starts with."""
        return [self.network]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of one input."""
        return tuple(self.network.inputs[0].shape[1:])

    @property
    def keys(self) -> list[str]:
        """Identifiers of what adapts, in order; they name it in a learner's state."""
        names = [re.sub(r"\W", "_", variable.path) for variable in self.variables]
        return [f"w{i}_{name}" for i, name in zip(self.positions, names, strict=True)]

    @property
    def fixed(self) -> int:
        """How many of the last `keys` stay as they start: of the task, and not adapted."""
        return 0

    def start(self, task: Mapping[str, Any], seed: Any = None) -> dict[str, Any]:
        """What adapts, before the first step, and what is fixed.

        Args:
            task: mapping with one task's support set: `inputs`, `[S, ...]`, as the network takes
                them; `targets`, `[S, ...]`; `mask`, bool `[S]` or None; and `training`.
            seed: int tensor, `[2]`, of the task, or None.

        Returns:
            dict from `keys` to tensors.
        """
        del task, seed
        return dict(zip(self.keys, starting_weights(self.variables), strict=True))

    def __call__(self, weights: Sequence[Any], inputs: Any, training: bool) -> tuple[Any, Any]:
        """Outputs with adapted weights.

        Args:
            weights: sequence of tensors, in the order of `keys`.
            inputs: tensor, `[n, ...]`.
            training: bool.

        Returns:
            Outputs, `[n, width]`, and the values of non-trainable variables after the call.
        """
        replaced = dict(zip(self.positions, weights, strict=True))
        return call_with(self.network, replaced, inputs, training)


#: (backbone, head) -> the network that episodes adapt.
NetworkMaker = Callable[[keras.Model, Head], AdaptedNetwork]


def backbone_with_head(backbone: keras.Model, head: Head) -> keras.Model:
    """One model of a backbone and the head on it.

    Raises:
        ValueError: for subclassed or unbuilt models.
    """
    check_graph(backbone)
    # Not `input` and `output`, which a sequential model does not have.
    return keras.Model(backbone.inputs[0], head(backbone.outputs[0]), name="network")


def network_of_paths(parts: Sequence[str] | None) -> NetworkMaker:
    """Makes networks that adapt the weights whose path contains one of the parts.

    Args:
        parts: sequence of str; None for all weights.

    Returns:
        `NetworkMaker`.
    """

    def make(backbone: keras.Model, head: Head) -> AdaptedNetwork:
        network = backbone_with_head(backbone, head)
        return AdaptedNetwork(network, chosen_positions(network, parts))

    return make


def chosen_positions(network: keras.Model, parts: Sequence[str] | None) -> tuple[int, ...]:
    """Positions, among the trainable variables, of those whose path contains one of the parts.

    Args:
        network: `keras.Model`.
        parts: sequence of str; None for all variables.

    Returns:
        Tuple of ints.

    Raises:
        ValueError: for a part that no path contains.
    """
    paths = [variable.path for variable in network.trainable_variables]
    if parts is None:
        return tuple(range(len(paths)))
    for part in parts:
        if not any(part in path for path in paths):
            raise ValueError(
                f"No weight's path contains {part!r}, which `adapted` asks for; the paths "
                f"are {', '.join(paths)}."
            )
    return tuple(i for i, path in enumerate(paths) if any(part in path for part in parts))
