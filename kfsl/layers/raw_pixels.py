"""Raw pixels for a network that prepares them itself."""

from __future__ import annotations

from typing import Any

import keras

from kfsl.layers.pixel_range import check_pixel_range


@keras.saving.register_keras_serializable(package="kfsl")
class RawPixels(keras.layers.Layer):
    """Leaves raw pixels as they are, and refuses those that are scaled already.

    It stands before networks that have their own preparation, such as `PretrainedBackbone`, also
    where a learner calls their layers one by one.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: tensor `[..., H, W, C]`, uint8 or any other number type with the same range.
    Output: the same tensor.

    Raises:
        ValueError: Floats that are scaled to 0..1 or around 0.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.raw_pixels import RawPixels

    images = np.random.randint(0, 256, size=(2, 5, 28, 28, 1), dtype="uint8")
    assert (RawPixels()(images).numpy() == images).all()
    ```
    """

    def __init__(self, **kwargs: Any) -> None:
        # Pixels that are floats are not to be rounded to half precision before they are scaled.
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Any) -> Any:
        return check_pixel_range(inputs, 1 / 255)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
