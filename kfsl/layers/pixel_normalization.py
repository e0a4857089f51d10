"""Raw pixels to the floats a backbone is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kfsl.layers.pixel_range import check_pixel_range


@keras.saving.register_keras_serializable(package="kfsl")
class PixelNormalization(keras.layers.Layer):
    """Turns raw pixels into floats: `(p - mean) / std` with `p = pixels * scale`.

    It stands inside the model, so that a served model takes the images as they are in a file.
    The arithmetic is float32 and the result is cast to the compute dtype.

    Args:
        scale: float. Factor that brings the pixels to [0, 1]. Defaults to `1 / 255`.
        invert: bool. Whether to use `1 - p`, for dark ink on light paper. Defaults to False.
        mean: float or sequence of floats, one a channel. Mean of `p` (after inversion).
            Defaults to None: 0.
        std: float or sequence of floats, one a channel. Standard deviation of `p`. Defaults to
            None: 1.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: tensor `[..., H, W, C]`, uint8 or any other number type with the same range. Floats
        that are scaled already, to 0..1 or around 0, are refused.
    Output: float tensor of the same shape.

    Raises:
        ValueError: A standard deviation that is not positive, or a mean or standard deviation
            for another number of channels than the images have; pixels that are scaled already.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.pixel_normalization import PixelNormalization

    images = np.random.randint(0, 256, size=(2, 5, 28, 28, 1), dtype="uint8")
    floats = PixelNormalization(invert=True)(images)
    ```
    """

    def __init__(
        self,
        scale: float = 1 / 255,
        invert: bool = False,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scale = float(scale)
        self.invert = bool(invert)
        self.mean = _plain(mean)
        self.std = _plain(std)
        if self.std is not None and not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"std must be positive in every channel; received std={std}")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, list) and len(value) not in (1, input_shape[-1]):
                raise ValueError(
                    f"{name} must be one number or one a channel; the images have "
                    f"{input_shape[-1]} channels; received {name}={value}"
                )

    def call(self, inputs: Any) -> Any:
        inputs = check_pixel_range(inputs, self.scale)
        # The three steps are one affine map, folded in float64 beforehand.
        sign, offset = (-1.0, 1.0) if self.invert else (1.0, 0.0)
        mean = np.asarray(0.0 if self.mean is None else self.mean, "float64")
        std = np.asarray(1.0 if self.std is None else self.std, "float64")
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        factor = ops.convert_to_tensor(sign * self.scale / std, dtype)
        shift = ops.convert_to_tensor((offset - mean) / std, dtype)
        return ops.cast(ops.cast(inputs, dtype) * factor + shift, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "invert": self.invert,
            "mean": self.mean,
            "std": self.std,
        }


def _plain(value: float | Sequence[float] | None) -> float | list[float] | None:
    if value is None:
        return None
    array = np.asarray(value, "float64")
    if array.ndim > 1:
        raise ValueError(f"Expected one number or one a channel; received {value}")
    return array.tolist()
