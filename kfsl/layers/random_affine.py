"""Random rotations, shifts and scales of images, drawn from a seed that is given."""

from __future__ import annotations

from typing import Any

import keras

from kfsl.affine import random_affines, transformed


@keras.saving.register_keras_serializable(package="kfsl")
class RandomAffine(keras.layers.Layer):
    """Rotates, shifts and scales each image by amounts of its own, bilinearly.

    Unlike Keras's random layers it has no state: the same seed gives the same transforms, so an
    inner loop that comes back to a step meets the same images. It is meant for images, before
    any weights; gradients for pixels are not exact.

    Args:
        degrees: float. Rotations are uniform from 0 to this. Defaults to `360.0`.
        translation: float. Shifts are uniform within plus and minus this fraction of each side.
            Defaults to `0.2`.
        scale: pair of float. Scales are uniform between the two. Defaults to `(0.8, 1.2)`.
        fill: float. Value outside the image, after preprocessing. Defaults to `1.0`: white.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: images `[n, H, W, C]`, and a seed, int64 `[2]`. Output: the shape of the images.

    Raises:
        ValueError: for a scale that is not positive, or whose ends are the wrong way round.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.random_affine import RandomAffine

    images = np.random.uniform(size=(4, 28, 28, 1)).astype("float32")
    layer, seed = RandomAffine(), np.array([0, 7])
    assert np.all(layer(images, seed) == layer(images, seed))
    ```
    """

    def __init__(
        self,
        degrees: float = 360.0,
        translation: float = 0.2,
        scale: tuple[float, float] = (0.8, 1.2),
        fill: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be two positive, rising numbers; received {scale}")
        self.degrees = degrees
        self.translation = translation
        self.scale = tuple(scale)
        self.fill = fill

    def call(self, images: Any, seed: Any) -> Any:
        affines = random_affines(
            keras.ops.cast(seed, "int64"),
            keras.ops.shape(images)[0],
            degrees=self.degrees,
            translation=self.translation,
            scale=self.scale,
        )
        return transformed(images, affines, self.fill)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "degrees": self.degrees,
            "translation": self.translation,
            "scale": self.scale,
            "fill": self.fill,
        }
