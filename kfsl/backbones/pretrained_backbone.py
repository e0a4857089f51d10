"""A network that was trained elsewhere, from raw pixels to features."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kfsl.backbones.backbone import Backbone
from kfsl.backbones.sources.hub import import_keras_hub
from kfsl.layers.network_pixels import NetworkPixels
from kfsl.layers.pixel_range import check_pixel_range

POOLINGS = ("average", None)
#: Layers that act in training alone.
NOISE = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


@keras.saving.register_keras_serializable(package="kfsl")
class PretrainedBackbone(Backbone):
    """A finished network with the preparation of pixels that it wants, frozen unless said else.

    It takes raw pixels, so a learner that has it prepares none (`takes_pixels`), and what is
    served takes the images of files. Its graph is flat: the layers of the network are its own,
    under their names, so that implants and modulations find them.

    Frozen means frozen: no weight is trained, batch normalisation keeps its averages and dropout
    does nothing. Where a learner calls the layers one by one, what drops inside a layer of another
    kind (attention, stochastic depth) still does in training. Layers of a `trainable` network that
    were frozen before stay so. Keras's own batch normalisation, which the networks of
    `keras.applications` and KerasHub have, knows nothing of episodes; trained, such a network
    needs a learner with `bn_policy="running", moments="meta_batch"`.

    `kfsl.backbones.pretrained` makes one by name or path.

    Args:
        network: functional or sequential `keras.Model` of one input and one output, or its
            serialised form. Prepared images `[n, h, w, 3]`, or grey ones `[n, h, w, 1]`, to maps,
            tokens or vectors. Its layers become the backbone's.
        image_shape: tuple of three ints, height, width (either may be None) and channels, 1 or 3.
            Of the raw images. Defaults to `(None, None, 3)`.
        image_size: int, pair of ints, or None. What images are resized to inside; see
            `NetworkPixels`. Defaults to None: nothing is resized.
        scaling: str, dict or None. What the network wants of pixels; see `NetworkPixels`.
            Defaults to None: 0 to 255.
        pooling: str or None. `"average"`: maps and tokens become their mean, vectors; None leaves
            them, for learners that look at locations. Defaults to `"average"`.
        trainable: bool. Defaults to False.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`. The network keeps its own dtype.

    Input: tensor `[n, H, W, C]`, uint8 or any other number type with the same range. Floats that
        are scaled already are refused.
    Output: float tensor `[n, D]`, or what the network gives.

    Raises:
        ValueError: for a network that is no graph from images to one output, or an unknown
            `pooling`.
        ImportError: for a serialised network of KerasHub, where that is not installed.

    Example:
    ```python
    import keras
    import numpy as np
    from kfsl.backbones.pretrained_backbone import PretrainedBackbone

    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 3)])
    backbone = PretrainedBackbone(network, image_shape=(28, 28, 1), image_size=56)
    assert backbone(np.zeros((2, 28, 28, 1), "uint8")).shape == (2, 8)
    assert backbone.trainable_weights == []
    ```
    """

    #: Whether it takes raw pixels, and a learner is to prepare none.
    takes_pixels = True

    def __init__(
        self,
        network: keras.Model | Mapping[str, Any],
        *,
        image_shape: Sequence[int | None] = (None, None, 3),
        image_size: int | Sequence[int] | None = None,
        scaling: str | Mapping[str, Any] | None = None,
        pooling: str | None = "average",
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}; received {pooling!r}.")
        network = _restored(network)
        _check(network)
        # Before anything is frozen, and as text, which Keras does not track.
        self._network = json.dumps(keras.saving.serialize_keras_object(network))
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None) or _policy(network))

        if not trainable:
            # Not by the mode it is called in: learners call its layers one by one, too.
            network = _without_noise(network)
        elif not network.trainable:
            network.trainable = True

        # === Layers and functional model ===
        images = keras.Input(tuple(image_shape), name="images")
        channels = 1 if network.inputs[0].shape[-1] == 1 else 3
        pixels = NetworkPixels(image_size, scaling, channels, dtype=dtype, name="pixels")
        # `call`, not the network itself: its layers come into this graph one by one.
        features = network.call(pixels(images))
        if pooling and len(features.shape) > 2:
            kinds = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
            features = kinds[len(features.shape)](dtype=dtype, name="pooled_features")(features)
        super().__init__(images, features, image_shape, dtype, **kwargs)
        if not trainable:
            # Set, not given: so each layer knows it, and says so to who asks.
            self.trainable = False

        # === Config ===
        self.pixels = pixels
        self.pooling = pooling

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        check_pixel_range(inputs, 1 / 255)
        # Keras freezes weights and averages; layers that drop inside would go on.
        return super().call(inputs, training=training and self.trainable, mask=mask)

    def get_config(self) -> dict[str, Any]:
        config = self.pixels.get_config()
        return {
            **super().get_config(),
            "network": json.loads(self._network),
            "image_size": config["image_size"],
            "scaling": config["scaling"],
            "pooling": self.pooling,
        }


def _restored(network: Any) -> Any:
    if not isinstance(network, Mapping):
        return network
    if str(network.get("registered_name", "")).startswith("keras_hub>"):
        import_keras_hub()
    # Keras changes what it is given while it reads it.
    return keras.saving.deserialize_keras_object(copy.deepcopy(dict(network)))


def _without_noise(network: keras.Model) -> keras.Model:
    """The same layers, but copies that do nothing of those that act in training alone."""
    if not _has_noise(network):
        return network
    return keras.models.clone_model(network, clone_function=_silent)


def _silent(layer: keras.layers.Layer) -> keras.layers.Layer:
    if _is_graph(layer):
        return _without_noise(layer)
    if not isinstance(layer, NOISE):
        return layer
    silent = layer.__class__.from_config(layer.get_config())
    # Set, not given: so it has its random state, which checkpoints have.
    setattr(silent, "stddev" if hasattr(silent, "stddev") else "rate", 0.0)
    return silent


def _has_noise(network: keras.Model) -> bool:
    return any(
        isinstance(layer, NOISE) or (_is_graph(layer) and _has_noise(layer))
        for layer in network.layers
    )


def _is_graph(layer: Any) -> bool:
    """Whether it is a functional or sequential model, whose layers are seen."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _check(network: Any) -> None:
    inputs, outputs = (getattr(network, name, None) for name in ("inputs", "outputs"))
    if not inputs or len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "A pretrained network must be a functional or sequential Keras model from images "
            f"[n, h, w, 3] to one output; received {type(network).__name__} with the inputs "
            f"{[tuple(each.shape) for each in inputs or []]}."
        )
    if len(outputs[0].shape) not in (2, 3, 4):
        raise ValueError(
            "A pretrained network must give maps, tokens or vectors; received the output "
            f"{tuple(outputs[0].shape)}."
        )


def _policy(network: keras.Model) -> keras.DTypePolicy:
    """What the network's layers compute in; a functional model has no policy of its own."""
    return network.layers[-1].dtype_policy
