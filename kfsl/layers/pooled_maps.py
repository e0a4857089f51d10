"""Feature maps read as vectors: pooled, flattened, or location by location."""

from typing import Any

import keras
from keras import ops

POOLINGS = ("average", "max", "flatten", "dense")


def pooled_maps(maps: Any, pooling: str) -> Any:
    """Maps as vectors of at least float32.

    Args:
        maps: float tensor, `[B, n, h, w, C]`.
        pooling: str. `"average"` or `"max"` over locations, `"flatten"`, or `"dense"`: every
            location is a vector.

    Returns:
        Tensor, `[B, n, L, D]`: of `"dense"` `L = h * w` locations of `D = C` channels; else
        `L = 1`, and `D = h * w * C` of `"flatten"`.

    Raises:
        ValueError: A `pooling` it does not know.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.pooled_maps import pooled_maps

    maps = np.ones((2, 5, 3, 3, 8), "float32")
    assert pooled_maps(maps, "average").shape == (2, 5, 1, 8)
    assert pooled_maps(maps, "dense").shape == (2, 5, 9, 8)
    assert pooled_maps(maps, "flatten").shape == (2, 5, 1, 72)
    ```
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}; received pooling={pooling!r}")
    maps = ops.convert_to_tensor(maps)
    maps = ops.cast(maps, keras.backend.result_type(maps.dtype, "float32"))
    batch, images, height, width, channels = ops.shape(maps)
    if pooling == "average":
        return ops.mean(maps, axis=(2, 3))[:, :, None]
    if pooling == "max":
        return ops.max(maps, axis=(2, 3))[:, :, None]
    if pooling == "flatten":
        return ops.reshape(maps, (batch, images, 1, height * width * channels))
    return ops.reshape(maps, (batch, images, height * width, channels))
