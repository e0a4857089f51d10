"""Keras's own batch normalisation, which knows nothing of episodes."""

import keras

from kfsl.networks.keras_private import flat_layers


def stock_normalization(network: keras.layers.Layer) -> keras.layers.BatchNormalization | None:
    """The first of its layers that is one, unless it is frozen: then averages normalise.

    Args:
        network: `keras.layers.Layer` or `keras.Model`.

    Returns:
        `keras.layers.BatchNormalization` or None.

    Example:
    ```python
    import keras
    from kfsl.networks.stock_normalization import stock_normalization

    network = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="bn")])
    assert stock_normalization(network).name == "bn"
    network.trainable = False
    assert stock_normalization(network) is None
    ```
    """
    for layer in flat_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return layer
    return None


def refuse_stock_normalization(name: str, network: keras.Model) -> None:
    """Refuses a network whose moments would not be those of one task's images.

    Args:
        name: str. Of the argument that it was.
        network: `keras.Model`.

    Raises:
        ValueError: if a layer of it is Keras's own batch normalisation and not frozen.
    """
    layer = stock_normalization(network)
    if layer is not None:
        raise ValueError(
            f"`{name}` must normalise the images of one task by the moments that bn_policy names; "
            f"its layer {layer.name!r} is Keras's BatchNormalization, which knows nothing of "
            f"tasks. Give kfsl.networks.exact({name})."
        )
