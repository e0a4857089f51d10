"""Random shifts by whole pixels and mirror images: the usual augmentation of small pictures."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class ShiftAndFlip(keras.layers.Layer):
    """In training, shifts each image by some pixels, and mirrors half of them left to right.

    What comes in at the edge is black, so that a shift is a crop of the size of the image from one
    padded by `pixels`. Keras's own `RandomCrop` crops all images of a batch alike; here its
    `RandomTranslation` and `RandomFlip` are used. They draw from a state, which is saved with the
    weights. Outside training nothing is changed.

    Args:
        pixels: int. The largest shift, in each direction; 0 for none. Defaults to `8`.
        flip: bool. Whether to mirror. Not for letters. Defaults to True.
        seed: int or None. Of the draws; None takes one at random. Defaults to None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: images `[n, H, W, C]`. Output: the same shape, in the compute dtype.

    Raises:
        ValueError: `pixels` that are negative, or as many as the image has.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.shift_and_flip import ShiftAndFlip

    images = np.random.uniform(size=(4, 32, 32, 3)).astype("float32")
    layer = ShiftAndFlip(pixels=4)
    assert np.any(layer(images, training=True) != images)
    assert np.all(layer(images) == images)
    ```
    """

    def __init__(
        self, pixels: int = 8, flip: bool = True, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if pixels < 0:
            raise ValueError(f"pixels must not be negative; received pixels={pixels}")
        self.pixels = pixels
        self.flip = flip
        self.seed = seed
        self.shift_layer = None
        self.flip_layer = keras.layers.RandomFlip("horizontal", seed=seed) if flip else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, height, width, _ = input_shape
        if None in (height, width) or self.pixels >= min(height, width):
            raise ValueError(
                f"ShiftAndFlip needs images of a known size above pixels={self.pixels}; received "
                f"input_shape={input_shape}"
            )
        if self.pixels:
            self.shift_layer = keras.layers.RandomTranslation(
                self.pixels / height,
                self.pixels / width,
                fill_mode="constant",
                interpolation="nearest",
                seed=self.seed,
            )

    def call(self, images: Any, training: bool = False) -> Any:
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        for layer in (self.shift_layer, self.flip_layer):
            images = images if layer is None else layer(images, training=True)
        return ops.cast(images, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pixels": self.pixels,
            "flip": self.flip,
            "seed": self.seed,
        }
