"""Whether a learner can still be saved."""

import keras
from keras import ops


def weights_are_finite(learner: keras.Model) -> bool:
    """Whether all weights, moving averages included, are finite.

    The loss of a step is computed before its update: it may be finite when the weights no
    longer are.

    Args:
        learner: `keras.Model`.

    Returns:
        bool.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.training.callbacks.finite_weights import weights_are_finite

    backbone = Conv4(image_shape=(28, 28, 1), filters=2)
    assert weights_are_finite(backbone)
    backbone.weights[0].assign(backbone.weights[0] * float("nan"))
    assert not weights_are_finite(backbone)
    ```
    """
    return all(bool(ops.all(ops.isfinite(weight))) for weight in learner.weights)
