"""Pretrained backbones by name or path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.backbones.sources import applications, hub, lite0
from kfsl.backbones.sources.source import INSTALL, PUBLISHED, Source
from kfsl.layers.network_pixels import pair_of

OWN = "own"


def pretrained(
    name_or_path: str,
    *,
    image_shape: Sequence[int | None] | None = None,
    image_size: int | Sequence[int] | str | None = OWN,
    weights: str | None = PUBLISHED,
    pooling: str | None = "average",
    trainable: bool = False,
    name: str | None = None,
) -> PretrainedBackbone:
    """A backbone that was trained elsewhere, from raw pixels to features.

    Args:
        name_or_path: str. `"efficientnet_lite0"`, whose weights come with `kfsl[pretrained]`; a
            network of `keras.applications`, such as `"MobileNetV2"`; a KerasHub preset, by its
            name, its handle or its folder.
        image_shape: tuple of three ints, or None. Height, width (either may be None) and channels
            (1 or 3) of the raw images. Defaults to None: RGB of any size.
        image_size: int, pair of ints, `"own"` or None. What images are resized to inside;
            `"own"` is the size that the network was trained on, None leaves them. Defaults to
            `"own"`: of images as small as 84 pixels its features tell far more.
        weights: str or None. `"published"`; a local file of weights, for `keras.applications`
            (without the top) and EfficientNet-Lite0; or None: weights are drawn. Defaults to
            `"published"`.
        pooling: str or None. See `PretrainedBackbone`. Defaults to `"average"`.
        trainable: bool. Defaults to False: frozen.
        name: str or None. Of the backbone.

    Returns:
        `PretrainedBackbone`.

    Raises:
        ConnectionError: if weights have to be downloaded and cannot be.
        FileNotFoundError: if there is no such folder or file.
        ImportError: if a package is missing, with the command that installs it.
        ValueError: if nothing is called so, the network takes no such images, or the weights do
            not fit.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones import pretrained

    # With weights=None nothing is downloaded; leave it out for the weights of ImageNet.
    backbone = pretrained("MobileNetV2", image_shape=(28, 28, 1), image_size=32, weights=None)
    assert backbone(np.zeros((2, 28, 28, 1), "uint8")).shape == (2, 1280)
    ```
    """
    shape = (None, None, 3) if image_shape is None else tuple(image_shape)
    source, size = _found(name_or_path, weights, image_size, shape)
    return PretrainedBackbone(
        source.network,
        image_shape=shape,
        image_size=size,
        scaling=source.scaling,
        pooling=pooling,
        trainable=trainable,
        **({} if name is None else {"name": name}),
    )


def _found(
    name: str, weights: str | None, image_size: Any, shape: tuple[int | None, ...]
) -> tuple[Source, Any]:
    """The source of a name, and the size that images are resized to."""
    own = image_size == OWN
    if name == lite0.NAME:
        source = lite0.lite0(weights)
    elif name in applications.names():
        asked = applications.own_size(name) if own else pair_of(image_size) or shape[:2]
        source = applications.network_of_applications(name, weights, asked)
    elif os.path.isdir(name) or name.startswith(hub.SCHEMES) or name in _presets(name):
        source = hub.preset(name, weights)
    else:
        raise ValueError(_unknown(name))
    return source, source.image_size if own else image_size


def _presets(name: str) -> list[str]:
    """KerasHub's names; none for what is a path, so that no folder needs KerasHub to be refused."""
    if os.path.sep in name or name.startswith("."):
        raise FileNotFoundError(f"There is no folder {name!r} with a KerasHub preset.")
    return hub.names()


def _unknown(name: str) -> str:
    known = [lite0.NAME, *applications.names(), *hub.names()]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    close += [each for each in known if each.lower() == name.lower() and each not in close]
    presets = "" if hub.installed() else f" Presets are known with KerasHub alone: {INSTALL}"
    return (
        f"There is no pretrained network {name!r}. Perhaps: "
        f"{', '.join(close or [lite0.NAME, 'MobileNetV2', 'ResNet50'])}. A network of "
        f"keras.applications, a KerasHub preset or the folder of one can be named.{presets}"
    )
