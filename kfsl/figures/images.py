"""Images in figures, and the colours that frame them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

RIGHT, WRONG, OTHER = "#2a9d4b", "#d1383d", "#9aa0a6"


def draw_image(axes: Axes, image: np.ndarray, **place: Any) -> None:
    """Draws an image of three channels in colour, others grey.

    Args:
        axes: matplotlib `Axes`.
        image: uint8 array, `[H, W, C]`.
        **place: further arguments of `Axes.imshow`, such as `extent`.
    """
    if image.shape[-1] == 3:
        axes.imshow(image, **place)
    else:
        axes.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255, **place)
