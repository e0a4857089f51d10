"""A vector that describes a task, from its support images."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class TaskEncoder(keras.layers.Layer):
    """The mean over support images of what a network of its own says of them; no labels.

    Maps are averaged over locations, a dense layer and ReLU follow, and then the mean over the
    images: neither their order nor their classes matter.

    Args:
        network: `keras.Model`. Images to maps or vectors.
        size: int. Numbers in the vector. Defaults to `128`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: images `[n, H, W, C]`, and perhaps `present`, bool `[n]`, False for padding. Output:
    `[size]`.

    Raises:
        ValueError: a `size` below 1.

    Reference:
        [Vuorio et al., 2019](https://arxiv.org/abs/1910.13616) (MMAML);
        [Abdollahzadeh et al., 2021](https://arxiv.org/abs/2110.14202).

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.conv4 import Conv4
    from kfsl.layers.task_encoder import TaskEncoder

    encoder = TaskEncoder(Conv4(image_shape=(28, 28, 1), filters=4), size=16)
    images = np.random.uniform(size=(5, 28, 28, 1)).astype("float32")
    assert encoder(images).shape == (16,)
    ```
    """

    def __init__(self, network: keras.Model, size: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size < 1:
            raise ValueError(f"size must be at least 1; received size={size}")
        self.network = network
        self.size = size
        self.dense = keras.layers.Dense(
            size,
            activation="relu",
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build((None, network.output_shape[-1]))

    def build(self, images_shape: Any, present_shape: Any = None) -> None:
        """Nothing is left to build: the network is, and its width says the dense layer's."""

    def call(self, images: Any, present: Any = None, training: bool = False) -> Any:
        maps = self.network(images, training=training)
        axes = tuple(range(1, len(maps.shape) - 1))
        vectors = self.dense(ops.mean(maps, axis=axes) if axes else maps)
        if present is None:
            return ops.mean(vectors, axis=0)
        kept = ops.cast(present, vectors.dtype)[:, None]
        return ops.sum(kept * vectors, axis=0) / ops.maximum(ops.sum(kept), 1.0)

    def compute_output_shape(self, images_shape: Any, present_shape: Any = None) -> tuple[int]:
        return (self.size,)

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "size": self.size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TaskEncoder:
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)
