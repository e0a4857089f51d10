"""Whether a learner can still be saved, or trusted."""

import keras
from keras import ops


def weight_not_finite(model: keras.Model) -> str | None:
    """The first weight, moving averages included, that holds something else than numbers.

    The loss of a step is computed before its update: it may be finite when the weights no
    longer are. Nor do logits tell: ReLU and max pooling can turn a NaN into a number.

    Args:
        model: `keras.Model`.

    Returns:
        str or None. The path of that weight, if there is one.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.metrics.finite_weights import weight_not_finite

    backbone = Conv4(image_shape=(28, 28, 1), filters=2)
    assert weight_not_finite(backbone) is None
    backbone.weights[0].assign(backbone.weights[0] * float("nan"))
    assert weight_not_finite(backbone) == backbone.weights[0].path
    ```
    """
    for weight in model.weights:
        if not bool(ops.all(ops.isfinite(weight))):
            return weight.path
    return None
