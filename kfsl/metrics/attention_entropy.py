"""How evenly attention is spread."""

from typing import Any

import keras
from keras import ops


class AttentionEntropy(keras.metrics.Mean):
    """Mean entropy of attention, as a share of that of uniform attention.

    Between 0, one place alone, and 1, all places alike; 1 where there is one place.

    Example:
    ```python
    import numpy as np
    from kfsl.metrics.attention_entropy import AttentionEntropy

    entropy = AttentionEntropy()
    entropy.update_state(np.full((1, 2, 4), 0.25, "float32"))
    assert float(entropy.result()) == 1.0
    ```
    """

    def update_state(self, attention: Any, mask: Any = None, sample_weight: Any = None) -> None:
        """Adds the attention of queries.

        Args:
            attention: float tensor, `[B, Q, ...]`, weights that add up to 1 over the axes after
                the second.
            mask: bool tensor or None, `[B, n]`. False marks places that cannot be attended to.
            sample_weight: what each query counts; None: all the same.
        """
        attention = ops.reshape(attention, (*ops.shape(attention)[:2], -1))
        entropy = -ops.sum(attention * ops.log(ops.maximum(attention, 1e-30)), axis=-1)
        if mask is None:
            places = ops.cast(ops.shape(attention)[-1], entropy.dtype)
        else:
            places = ops.sum(ops.cast(mask, entropy.dtype), axis=-1, keepdims=True)
        alone = places <= 1.0
        share = ops.where(alone, 1.0, entropy / ops.log(ops.where(alone, 2.0, places)))
        super().update_state(share, sample_weight)
