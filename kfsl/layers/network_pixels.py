"""Raw pixels to what a network that was trained elsewhere was trained on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kfsl")
class NetworkPixels(keras.layers.Layer):
    """Prepares raw pixels for a network: its number of channels, its size, its scale.

    The arithmetic is float32 and the result is cast to the compute dtype.

    Args:
        image_size: int, pair of ints, or None. Height and width that images are brought to,
            bilinearly, the aspect not kept; None leaves them as they are. Defaults to None.
        scaling: str, dict or None. A module of `keras.applications`, such as `"resnet50"`, whose
            own `preprocess_input` it is; or `{"scale": a, "offset": b}`, numbers or one a
            channel, for `a * pixels + b`; None leaves 0 to 255. Defaults to None.
        channels: int. What the network takes: 3, for which grey images are repeated, or 1, of
            grey images alone. Defaults to 3.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: tensor `[n, H, W, C]`, `C` 1 or 3, from 0 to 255. Output: float tensor
    `[n, h, w, channels]`.

    Raises:
        ValueError: A size that is not positive, a module or a dict that it does not know, or
            images of another number of channels.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.network_pixels import NetworkPixels

    grey = np.random.randint(0, 256, (2, 28, 28, 1), "uint8")
    prepared = NetworkPixels(image_size=96, scaling="mobilenet_v2")(grey)
    assert prepared.shape == (2, 96, 96, 3) and abs(prepared.numpy()).max() <= 1
    ```
    """

    def __init__(
        self,
        image_size: int | Sequence[int] | None = None,
        scaling: str | Mapping[str, Any] | None = None,
        channels: int = 3,
        **kwargs: Any,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; received {channels}.")
        # Pixels that are floats are not to be rounded to half precision before they are scaled.
        super().__init__(autocast=False, **kwargs)
        self.image_size = pair_of(image_size)
        # A copy of plain numbers: what a configuration file holds.
        self._scaling = _checked_scaling(scaling)
        self.channels = channels

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] not in (1, 3):
            raise ValueError(
                "Images must be grey or RGB, [n, H, W, 1] or [n, H, W, 3]; received the shape "
                f"{tuple(input_shape)}. Say with `image_shape` which they are."
            )
        if input_shape[-1] > self.channels:
            raise ValueError(
                "The network takes grey images, [n, H, W, 1]; received the shape "
                f"{tuple(input_shape)}. Say with `image_shape` that they have one channel."
            )

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        if inputs.shape[-1] < self.channels:
            x = ops.repeat(x, self.channels, axis=-1)
        if self.image_size is not None and tuple(inputs.shape[1:3]) != self.image_size:
            # Where the size shrinks, every pixel is to count; where it is not known yet, it may.
            shrinks = any(
                n is None or n > m for n, m in zip(inputs.shape[1:3], self.image_size, strict=True)
            )
            x = ops.image.resize(x, self.image_size, antialias=shrinks)
        return ops.cast(self._scaled(x), self.compute_dtype)

    def _scaled(self, x: Any) -> Any:
        if isinstance(self._scaling, str):
            return application(self._scaling).preprocess_input(x)
        if self._scaling is None:
            return x
        scale, offset = (ops.convert_to_tensor(part, x.dtype) for part in self._scaling)
        return x * scale + offset

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *(self.image_size or input_shape[1:3]), self.channels)

    def get_config(self) -> dict[str, Any]:
        scaling = self._scaling
        if isinstance(scaling, tuple):
            scaling = dict(zip(("scale", "offset"), scaling, strict=True))
        config = {**super().get_config(), "image_size": self.image_size, "scaling": scaling}
        return config if self.channels == 3 else {**config, "channels": self.channels}


def application(module: str) -> Any:
    """A module of `keras.applications`, which has a network's `preprocess_input`.

    Args:
        module: str, such as `"resnet50"`.

    Returns:
        The module.

    Raises:
        ValueError: if there is no such module, or it prepares no pixels.
    """
    found = getattr(importlib.import_module("keras.applications"), module, None)
    if not hasattr(found, "preprocess_input"):
        raise ValueError(
            "A scaling must be a module of keras.applications that has preprocess_input, such as "
            f"'resnet50'; received {module!r}."
        )
    return found


def pair_of(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """A size as height and width.

    Args:
        image_size: int, pair of ints, or None.

    Returns:
        Pair of ints, or None.

    Raises:
        ValueError: if it is none of these, or not positive.
    """
    if image_size is None:
        return None
    pair = (image_size,) * 2 if isinstance(image_size, int | str) else tuple(image_size)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ValueError(
            f"image_size must be a positive int, two of them, or None; received {image_size!r}."
        )
    return pair


def _checked_scaling(scaling: str | Mapping[str, Any] | None) -> str | tuple | None:
    if scaling is None:
        return None
    if isinstance(scaling, str):
        application(scaling)
        return scaling
    if not isinstance(scaling, Mapping) or set(scaling) != {"scale", "offset"}:
        raise ValueError(
            "scaling must name a module of keras.applications, or be a dict with 'scale' and "
            f"'offset'; received {scaling!r}."
        )
    return tuple(_numbers(name, scaling[name]) for name in ("scale", "offset"))


def _numbers(name: str, value: Any) -> float | tuple[float, ...]:
    if isinstance(value, int | float):
        return float(value)
    numbers = tuple(float(each) for each in value)
    if len(numbers) != 3:
        raise ValueError(f"{name} must be one number, or three; received {value!r}.")
    return numbers
