"""What a source of pretrained networks gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class Source:
    """A network with its weights, and what it wants of pixels.

    Args:
        network: `keras.Model`. Prepared images to maps, tokens or vectors.
        image_size: pair of ints. The size that it was trained on.
        scaling: str, dict or None. See `kfsl.layers.network_pixels.NetworkPixels`.
    """

    network: keras.Model
    image_size: tuple[int, int]
    scaling: str | Mapping[str, Any] | None


#: What a source's own weights are called, whatever they were trained on.
PUBLISHED = "published"

#: How an extra that is not there is told.
INSTALL = "Install it with: pip install 'kfsl[pretrained]'"
