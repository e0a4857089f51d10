"""What every backbone has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class Backbone(keras.Model):
    """A functional graph from images to feature maps that keeps its dtype policy and shape.

    Subclasses build their graph, call this constructor and add their own arguments to
    `get_config`, which lists exactly the constructor's arguments.

    Args:
        images: Keras tensor `[n, H, W, C]`, the graph's input.
        features: Keras tensor `[n, h, w, c]`, its output.
        image_shape: tuple of three ints, height, width (either may be None) and channels.
        dtype: str or `keras.DTypePolicy`. The policy the graph's layers were built with.
        **kwargs: Arguments of `keras.Model`: `name` and `trainable`; and `frozen`, names of
            layers that are not trained where the others are.

    Raises:
        TypeError: for another argument, which Keras would ignore.
    """

    def __init__(
        self, images: Any, features: Any, image_shape: Sequence[int | None], dtype: Any, **kwargs
    ) -> None:
        unknown = sorted(set(kwargs) - {"name", "trainable", "frozen"})
        if unknown:
            raise TypeError(f"{type(self).__name__} has no argument {unknown[0]!r}.")
        # Not by Keras's constructor, which tells the layers nothing of it.
        trainable, frozen = kwargs.pop("trainable", True), kwargs.pop("frozen", ())
        super().__init__(inputs=images, outputs=features, **kwargs)
        if not trainable:
            # True would be told to layers that are frozen themselves.
            self.trainable = False
        for name in frozen:
            self.get_layer(name).trainable = False
        # A functional model takes no policy of its own from its layers.
        self.dtype_policy = keras.dtype_policies.get(dtype)
        self.image_shape = tuple(image_shape)

    def get_config(self) -> dict[str, Any]:
        config = {
            "image_shape": self.image_shape,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }
        frozen = [layer.name for layer in self.layers if layer.weights and not layer.trainable]
        return {**config, "frozen": frozen} if self.trainable and frozen else config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Backbone:
        # keras.Model's own would rebuild the graph layer by layer, not call the constructor.
        del custom_objects
        return cls(**config)


def check_blocks(filters: Any, num_pools: int, blocks: int = 4) -> tuple[int, ...]:
    """The filters as a tuple, if there are `blocks` of them and pools for at most as many.

    Args:
        filters: sequence of positive ints, one a block.
        num_pools: int. How many of the first blocks pool.
        blocks: int. Defaults to `4`.

    Returns:
        Tuple of `blocks` ints.

    Raises:
        ValueError: Another number of filters or pools.
    """
    widths = tuple(filters) if isinstance(filters, Sequence) else (filters,)
    if len(widths) != blocks or not all(isinstance(w, int) and w > 0 for w in widths):
        raise ValueError(f"filters must be {blocks} positive ints; received filters={filters}")
    if num_pools not in range(blocks + 1):
        raise ValueError(
            f"num_pools must be an int from 0 to {blocks}; received num_pools={num_pools}"
        )
    return widths
