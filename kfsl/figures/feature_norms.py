"""Where in an image a network answers: how long the vectors of its feature maps are."""

import numpy as np
from matplotlib.figure import Figure

from kfsl.figures.images import draw_image


def feature_norms_figure(image: np.ndarray, features: np.ndarray) -> Figure:
    """Draws an image, and over it the norm of its features at each location.

    Brightest is the largest norm of this image. The norm is of no class: a network can answer
    loudly to what its classifier then finds the same in all classes.

    Args:
        image: uint8 array, `[H, W, C]`.
        features: float array, `[h, w, channels]`, the image's feature maps.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the features are no maps.

    Example:
    ```python
    import numpy as np
    from kfsl.figures.feature_norms import feature_norms_figure

    image = np.zeros((28, 28, 3), "uint8")
    figure = feature_norms_figure(image, np.random.default_rng(0).normal(size=(7, 7, 16)))
    assert len(figure.axes) == 2
    ```
    """
    features = np.asarray(features, "float64")
    if features.ndim != 3:
        raise ValueError(
            f"Feature maps of one image are [h, w, channels]; received the shape {features.shape}."
        )
    norms = np.linalg.norm(features, axis=-1)
    height, width = image.shape[:2]
    figure = Figure(figsize=(5.0, 2.6 * height / width + 0.3), dpi=110)
    plain, over = figure.subplots(1, 2)
    for axes in (plain, over):
        axes.set(xticks=[], yticks=[])
    draw_image(plain, image)
    plain.set_title("what the model sees", fontsize=8)
    # Grey and pale beneath, so that the colours are the features' alone.
    over.imshow(128 + image.mean(-1) / 2, cmap="gray", vmin=0, vmax=255)
    over.imshow(
        norms,
        cmap="inferno",
        vmin=0,
        # Of maps that are 0 everywhere nothing is bright.
        vmax=norms.max() or 1.0,
        alpha=0.6,
        interpolation="bilinear",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    over.set_title(f"norm of its features, {norms.shape[0]}x{norms.shape[1]}", fontsize=8)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.9, wspace=0.04)
    return figure
