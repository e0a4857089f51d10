"""The dense layer on a backbone that an episode's answers come from."""

import dataclasses
from typing import Any

import keras

POOLINGS = ("flatten", "average")


@dataclasses.dataclass(frozen=True)
class Head:
    """A dense layer, `head`, on maps or vectors.

    Args:
        width: int. Columns of the dense layer.
        pooling: str. From maps to vectors: `"flatten"`, or `"average"` over locations.
        dtype: dtype policy of the layers.
        kernel_initializer: str or `keras.Initializer`. Of the dense layer.
    """

    width: int
    pooling: str
    dtype: Any
    kernel_initializer: Any = "glorot_uniform"

    def __call__(self, features: Any) -> Any:
        """The outputs of a backbone's maps or vectors.

        Args:
            features: Keras tensor, `[n, h, w, c]` or `[n, c]`.

        Returns:
            Keras tensor, `[n, width]`.

        Raises:
            ValueError: if the number of features is not known.
        """
        shape = tuple(features.shape)
        if len(shape) > 2 and self.pooling == "average":
            average = keras.layers.GlobalAveragePooling2D(dtype=self.dtype, name="features_average")
            features = average(features)
        features = keras.layers.Flatten(dtype=self.dtype, name="features_flat")(features)
        if features.shape[-1] is None:
            raise ValueError(
                "The head needs to know the number of features: give the backbone an "
                f"image_shape without None, or pooling='average'. Its maps are {shape}."
            )
        return keras.layers.Dense(
            self.width,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype,
            name="head",
        )(features)


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
