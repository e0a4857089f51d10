"""The network that a gradient-based learner adapts: a backbone and a dense head."""

from collections.abc import Sequence
from typing import Any

import keras

POOLINGS = ("flatten", "average")


def with_head(features: Any, ways: int, pooling: str, dtype: Any) -> Any:
    """Logits of a backbone's maps or vectors.

    Args:
        features: Keras tensor, `[n, h, w, c]` or `[n, c]`.
        ways: int. Columns of the dense layer, `head`.
        pooling: str. One of `POOLINGS`.
        dtype: dtype policy of the layers.

    Returns:
        Keras tensor, `[n, ways]`.

    Raises:
        ValueError: if the number of features is not known.
    """
    shape = tuple(features.shape)
    if len(shape) > 2 and pooling == "average":
        average = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="features_average")
        features = average(features)
    features = keras.layers.Flatten(dtype=dtype, name="features_flat")(features)
    if features.shape[-1] is None:
        raise ValueError(
            "The head needs to know the number of features: give the backbone an "
            f"image_shape without None, or pooling='average'. Its maps are {shape}."
        )
    return keras.layers.Dense(ways, dtype=dtype, name="head")(features)


def chosen_positions(network: keras.Model, parts: Sequence[str] | None) -> tuple[int, ...]:
    """Positions, among the trainable variables, of those whose path contains one of the parts.

    Args:
        network: `keras.Model`.
        parts: sequence of str; None for all variables.

    Returns:
        Tuple of ints.

    Raises:
        ValueError: for a part that no path contains.
    """
    paths = [variable.path for variable in network.trainable_variables]
    if parts is None:
        return tuple(range(len(paths)))
    for part in parts:
        if not any(part in path for path in paths):
            raise ValueError(
                f"No weight's path contains {part!r}, which `adapted` asks for; the paths "
                f"are {', '.join(paths)}."
            )
    return tuple(i for i, path in enumerate(paths) if any(part in path for part in parts))


def check_graph(backbone: keras.Model) -> None:
    """Refuses a backbone that a head cannot be added to.

    Raises:
        ValueError: for subclassed or unbuilt models.
    """
    if not getattr(backbone, "inputs", None) or not getattr(backbone, "outputs", None):
        raise ValueError(
            f"The backbone {backbone.name!r} ({type(backbone).__name__}) has no graph that a head "
            "can be added to. Give a functional model, or a keras.Sequential that begins with "
            "keras.Input."
        )
