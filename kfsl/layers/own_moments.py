"""Normalisation by the moments of the maps themselves, with its derivative written out."""

from __future__ import annotations

from typing import Any

from keras import ops

from kfsl.distribution import replicas


def normalize_by_own_moments(
    maps: Any,
    gamma: Any,
    beta: Any,
    epsilon: float,
    weights: Any = None,
    across: bool = False,
) -> tuple[Any, Any, Any]:
    """Normalises each episode's maps by their mean and variance, exactly to every order.

    Automatic differentiation of `gamma * (x - mean) / sqrt(variance + epsilon) + beta` is exact
    too, but goes over the maps half as often again: it spreads the gradient of each moment over
    them before it adds. Here the derivative is written out, so that what is one number a channel
    stays so. Derivatives of the derivative are automatic.

    Args:
        maps: float tensor `x`, `[B, n, L, C]`: episodes, images, locations, channels.
        gamma: float tensor, `[C]`.
        beta: float tensor, `[C]`.
        epsilon: float. Added to the variance.
        weights: float tensor or None, `[B, n, 1, 1]`. What an image counts in the moments: 1,
            or 0 for padding, which is normalised but moves nothing; no gradient reaches them.
            None: every image counts.
        across: bool. The moments are those of the images of all replicas, which have as many
            each.

    Returns:
        The normalised maps, `[B, n, L, C]`; and mean and biased variance, `[B, 1, 1, C]`.

    Reference:
        [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), Algorithm 1 and the
        derivatives of section 3.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.own_moments import normalize_by_own_moments

    maps = np.random.normal(3.0, 2.0, size=(1, 5, 49, 8)).astype("float32")
    one, zero = np.ones(8, "float32"), np.zeros(8, "float32")
    outputs, mean, variance = normalize_by_own_moments(maps, one, zero, 1e-3)
    assert np.allclose(np.mean(outputs, axis=(0, 1, 2)), 0.0, atol=1e-5)
    ```
    """
    groups, images, locations, channels = ops.shape(maps)
    if weights is None:
        count = images * locations * (replicas.count() if across else 1)
        each = ops.ones((groups, 1, images * locations), maps.dtype)
    else:
        weights = ops.stop_gradient(weights)
        count = ops.sum(weights, axis=(1, 2), keepdims=True) * ops.cast(locations, maps.dtype)
        count = replicas.total(count) if across else count
        count = ops.maximum(count, 1.0)
        each = ops.repeat(ops.cast(weights, maps.dtype), locations, axis=2)
        each = ops.reshape(each, (groups, 1, images * locations))
    # Of one value in the mean. Not a division: its derivative would be four operations more.
    share = 1.0 / ops.cast(count, maps.dtype)

    def weighted(x: Any) -> Any:
        return x if weights is None else x * weights

    def sum_of(x: Any, row: Any) -> Any:
        # A product, which adds whole rows of channels: TensorFlow's sum takes three times as long.
        total = ops.matmul(row, ops.reshape(x, (groups, images * locations, channels)))
        return ops.reshape(total, (groups, 1, 1, channels))

    def whole(total: Any) -> Any:
        return replicas.total(total) if across else total

    ones = each if weights is None else ops.ones_like(each)

    @ops.custom_gradient
    def normalize(x: Any, gamma: Any, beta: Any) -> tuple:
        mean = share * whole(sum_of(x, each))
        centred = x - mean
        variance = share * whole(sum_of(ops.square(centred), each))
        inverse = ops.rsqrt(variance + epsilon)
        factor = gamma * inverse

        def gradient(d_outputs: Any, d_mean: Any, d_variance: Any) -> tuple:
            # Of gamma and beta; the same sums are what the moments pass on to every image.
            along = inverse * sum_of(d_outputs * centred, ones)
            total = sum_of(d_outputs, ones)
            slope = share * whole(2.0 * d_variance - factor * inverse * along)
            shared = slope * centred + share * whole(d_mean - factor * total)
            return (
                factor * d_outputs + weighted(shared),
                ops.sum(along, axis=(0, 1, 2)),
                ops.sum(total, axis=(0, 1, 2)),
            )

        return (centred * factor + beta, mean, variance), gradient

    return normalize(maps, gamma, beta)
