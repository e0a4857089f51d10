"""A stream of new convolutions beside the frozen top of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kfsl.layers.normalization import BatchNormalization
from kfsl.networks.insertion import segments
from kfsl.networks.keras_private import graph_of, nodes
from kfsl.networks.replaced_weights import call_with

#: Layers without weights that do to the new stream what they do to the old one.
ALIKE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)
#: Layers of the old stream that the new one does without: it has biases, and nothing to drop.
PASSED = (
    BatchNormalization,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)


class ImplantedNetwork:
    """A backbone cut in three: what stays, what is frozen beside implants, and the implants.

    Beside each convolution behind the cut lies an implant, a convolution of the same size with a
    few channels, which sees both streams; activations, pools and sums are those of the base
    stream. Nothing of the base stream depends on the implants, so that what they see of it is
    computed once (`see`), and only the implants again and again (`embed`).

    The implants' weights are not the backbone's, nor anybody's: an episode draws them (`start`)
    and passes them in.

    Args:
        backbone: functional `keras.Model`, images to maps.
        after: str. Name of the layer behind which convolutions have implants; the network must
            have a single branch there, such as the end of a block.
        channels: int. Of each implant. Defaults to `16`.
        shortcuts: bool. Whether 1x1 convolutions, as on shortcuts, have implants too; without, a
            sum of branches is what the other branches give. Defaults to True.

    Raises:
        ValueError: if there is no such layer, no convolution behind it, or a layer behind it that
            implants cannot lie beside.

    Reference:
        [Lifchitz et al., 2019](https://arxiv.org/abs/1903.05050), section 3.2.1 and figure 4.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.resnet12 import ResNet12
    from kfsl.networks.implants import ImplantedNetwork

    backbone = ResNet12(image_shape=(32, 32, 3), filters=(4, 8, 8, 16))
    network = ImplantedNetwork(backbone, after="block3_pool", channels=2)
    features = network.trunk(np.zeros((5, 32, 32, 3), "float32"))
    implants = network.start(seed=np.array([0, 0]))
    maps = network.embed(network.see(features), list(implants.values()))
    assert maps.shape == (5, 2, 2, 16 + 2)
    ```
    """

    def __init__(
        self, backbone: keras.Model, after: str, channels: int = 16, shortcuts: bool = True
    ) -> None:
        if channels < 1:
            raise ValueError(f"`channels` must be at least 1; received channels={channels}.")
        self.channels = channels
        self.shortcuts = shortcuts
        self.trunk, top = segments(backbone, [after])
        if top is None:
            raise ValueError(f"Nothing comes behind {after!r}: there is nothing to implant.")
        self._seen: dict[int, Any] = {}
        self._inputs: list[Any] = []
        self._base: list[Any] = []
        self._final = 0
        output = self._stream_of(top, after)
        self.base = keras.Model(top.inputs[0], self._base)
        self.stream = keras.Model(self._inputs, output)

    # === The new stream's graph ===

    def _stream_of(self, top: keras.Model, after: str) -> Any:
        implants: dict[int, Any] = {}
        for node in nodes(graph_of(top)):
            if not node.input_tensors:
                continue
            implants[id(node.output_tensors[0])] = self._beside(node, implants)
        last = top.outputs[0]
        implant = implants.get(id(last))
        if implant is None:
            raise ValueError(f"No convolution comes behind {after!r}: there is nothing to implant.")
        both = keras.layers.Concatenate(name="streams")([self._see(last), implant])
        self._final = [id(tensor) for tensor in self._base].index(id(last))
        return both

    def _beside(self, node: Any, implants: dict[int, Any]) -> Any:
        """What lies beside one call of a layer; None where there is no new stream yet."""
        layer, inputs = node.operation, node.input_tensors
        if isinstance(layer, keras.layers.Conv2D):
            return self._implant(layer, inputs[0], implants.get(id(inputs[0])))
        present = [implants[id(x)] for x in inputs if implants.get(id(x)) is not None]
        if not present:
            return None
        if isinstance(layer, keras.layers.Add):
            return present[0] if len(present) == 1 else keras.layers.Add()(present)
        if isinstance(layer, PASSED):
            return present[0]
        if isinstance(layer, ALIKE):
            return type(layer).from_config({**layer.get_config(), "name": f"implant_{layer.name}"})(
                present[0]
            )
        raise ValueError(
            f"Implants cannot lie beside {layer.name!r}, a {type(layer).__name__}. Choose a layer "
            "behind it with `after`."
        )

    def _implant(self, layer: keras.layers.Conv2D, base: Any, implant: Any) -> Any:
        if tuple(layer.kernel_size) == (1, 1) and not self.shortcuts:
            return None
        x = self._see(base)
        if implant is not None:
            x = keras.layers.Concatenate()([x, implant])
        return keras.layers.Conv2D(
            self.channels,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            dtype=layer.dtype_policy,
            name=f"implant_{layer.name}",
        )(x)

    def _see(self, base: Any) -> Any:
        """An input that stands for a tensor of the base stream."""
        if id(base) not in self._seen:
            seen = keras.Input(base.shape[1:], dtype=base.dtype, name=f"seen{len(self._inputs)}")
            self._seen[id(base)] = seen
            self._inputs.append(seen)
            self._base.append(base)
        return self._seen[id(base)]

    # === An episode's implants ===

    @property
    def keys(self) -> list[str]:
        """Identifiers of the implants' weights, in order; they name them in a learner's state."""
        return [variable.path.replace("/", "_") for variable in self.stream.trainable_variables]

    def start(self, seed: Any, gain: float = 1.0) -> dict[str, Any]:
        """Implants before the first update: kernels drawn as He does, biases zero.

        Args:
            seed: int tensor, `[2]`.
            gain: float. Multiplies the kernels. Defaults to `1.0`.

        Returns:
            dict from `keys` to tensors of the weights' type.
        """
        seed = tf.cast(seed, "int32")
        found = {}
        for i, (key, variable) in enumerate(
            zip(self.keys, self.stream.trainable_variables, strict=True)
        ):
            shape = tuple(variable.shape)
            if len(shape) == 1:
                found[key] = tf.zeros(shape, variable.dtype)
                continue
            fan_in = shape[0] * shape[1] * shape[2]
            own = tf.random.experimental.stateless_fold_in(seed, i)
            draw = tf.random.stateless_normal(shape, own, alg="philox")
            found[key] = tf.cast(gain * (2.0 / fan_in) ** 0.5 * draw, variable.dtype)
        return found

    def see(self, features: Any) -> list[Any]:
        """What implants see of the base stream: frozen, and in inference mode.

        Args:
            features: tensor, `[n, h, w, C]`, from `trunk`.

        Returns:
            list of tensors.
        """
        seen = self.base(features, training=False)
        seen = list(seen) if isinstance(seen, Sequence) else [seen]
        return [tf.stop_gradient(tensor) for tensor in seen]

    def base_maps(self, features: Any) -> Any:
        """The backbone's own maps, of features from `trunk`."""
        return self.see(features)[self._final]

    def embed(self, seen: list[Any], implants: Sequence[Any]) -> Any:
        """The widened embedding: the backbone's maps and those of the implants.

        Args:
            seen: list of tensors, from `see`.
            implants: sequence of tensors, in the order of `keys`.

        Returns:
            Tensor, `[n, h, w, C + channels]`.
        """
        maps, _ = call_with(self.stream, dict(enumerate(implants)), seen, training=False)
        return maps
