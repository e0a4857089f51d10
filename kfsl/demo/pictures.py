"""Where a model looks in a query, as far as its method or its signatures can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kfsl.demo.workbench import Workbench
from kfsl.episodes import QUERY_IMAGES, SUPPORT_CLASSES, SUPPORT_IMAGES, SUPPORT_LABELS
from kfsl.figures.attention import attention_figure
from kfsl.figures.class_activation import class_activation_figure
from kfsl.figures.feature_norms import feature_norms_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Support images beside a query, unless there are more classes: as many as can be seen.
MOST_SUPPORTS = 6
#: What each kind of picture shows.
ATTENTION = (
    "Attention of each layer over the image and the support images, and beneath these the "
    "attention that each receives."
)
ACTIVATION = (
    "How sure each location is, by itself, of the class that the image as a whole is likeliest of."
)
NORMS = (
    "Where the network answers most: the norm of its feature maps. It is of no class, and need "
    "not be where the classes differ."
)


def picture(bench: Workbench, place: int) -> tuple[Figure | None, str]:
    """Where the model looks in one of the queries.

    Args:
        bench: `Workbench`, which has learnt its classes and has queries.
        place: int. Which query, from 0.

    Returns:
        `matplotlib.figure.Figure` or None, and a sentence: what it shows, or why there is none.
    """
    learner = bench.model.learner
    if learner is not None and _has_attention(learner):
        episode = _episode(bench, place)
        del episode[SUPPORT_CLASSES]
        names = bench.support.classes
        figure = attention_figure(learner, episode, None, names, columns=MOST_SUPPORTS)
        return figure, ATTENTION
    if learner is not None and hasattr(learner, "activation_maps"):
        try:
            return _activation(bench, place), ACTIVATION
        except ValueError as error:
            return None, str(error)
    return _norms(bench, place)


def _has_attention(learner: Any) -> bool:
    from kfsl.learners import STANet

    return isinstance(learner, STANet)


def _episode(bench: Workbench, place: int) -> dict[str, np.ndarray]:
    """The support set and one query, as learners have them."""
    support, query = bench.support, bench.queries.files[place]
    files = [*support.files, query]
    pixels = bench.model.pixels(files, bench.queries.files)
    labels = np.array([support.labels], "int32")
    return {
        SUPPORT_IMAGES: pixels[None, :-1],
        SUPPORT_LABELS: labels,
        SUPPORT_CLASSES: labels,
        QUERY_IMAGES: pixels[None, -1:],
    }


def _activation(bench: Workbench, place: int) -> Figure:
    likeliest = bench.table().probabilities[place].argmax()
    return class_activation_figure(
        bench.model.learner,
        _episode(bench, place),
        np.array([[likeliest]]),
        bench.support.classes,
        columns=1,
    )


def _norms(bench: Workbench, place: int) -> tuple[Figure | None, str]:
    query = bench.queries.files[place]
    pixels = bench.model.pixels([query], [*bench.support.files, *bench.queries.files])
    features = bench.model.served.embed(pixels)
    name = bench.model.served.description["learner"]
    if features.shape == pixels.shape:
        return None, f"No picture: of one image alone this {name} computes nothing that looks."
    if features.ndim != 4 or features.shape[1:3] == (1, 1):
        return None, (
            f"No picture: this {name} makes {features[0].size} numbers of an image, without "
            "places in it."
        )
    return feature_norms_figure(pixels[0], features[0]), NORMS
