"""Batch normalisation with exact second derivatives and moments per episode."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kfsl.distribution import replicas
from kfsl.layers.convolution_before import ConvolutionBefore, convolution_before
from kfsl.layers.film_scope import film_behind
from kfsl.layers.moments_scope import Moments, MomentsScope, innermost_scope
from kfsl.layers.normalized_convolution import normalized_convolution, pays
from kfsl.layers.own_moments import normalize_by_own_moments


@keras.saving.register_keras_serializable(package="kfsl")
class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over the last axis, exact to every order of differentiation.

    Keras's layer takes its variance from `tf.nn.moments`, which stops the gradient of the mean:
    right to first order, wrong to second, and so wrong in the meta-gradient of every learner that
    differentiates through an inner loop. Here the first derivative is written out, in
    `normalize_by_own_moments`, and exact to every order. Values and first derivatives are those of
    `keras.layers.BatchNormalization`.

    Outside a `moments_scope` it behaves as Keras's layer: with `training=True` it normalises by
    the moments of the whole batch and moves its averages; otherwise, or with `trainable=False`,
    it uses the averages. Inside a scope moments are per episode and masked; and in a graph, in
    training, a first convolution and this layer behind it become one `normalized_convolution`, so
    that the maps between them have no gradient.

    Moments are float32 under mixed precision. The biased variance enters the moving average.

    Args:
        momentum: float. What the moving averages keep of themselves at an update. PyTorch
            counts the other way: its 0.1 is 0.9 here. Defaults to `0.99`.
        epsilon: float. Added to the variance. PyTorch's default is 1e-5. Defaults to `1e-3`.
        center: bool. Whether to add a learned offset `beta`. Defaults to True.
        scale: bool. Whether to multiply by a learned `gamma`. Defaults to True.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input: float tensor `[n, ..., C]`. Output: the same shape, in the compute dtype.

    Reference:
        [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), Algorithm 1.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.normalization import BatchNormalization

    maps = np.random.normal(size=(4, 7, 7, 16)).astype("float32")
    normalised = BatchNormalization()(maps, training=True)
    ```
    """

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must lie in [0, 1]; received momentum={momentum}")
        if not epsilon > 0.0:
            raise ValueError(f"epsilon must be positive; received epsilon={epsilon}")
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if len(input_shape) < 2 or channels is None:
            raise ValueError(
                "BatchNormalization needs inputs [n, ..., C] with a known number of channels; "
                f"received input_shape={input_shape}"
            )
        shape = (channels,)
        if self.scale:
            self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
        if self.center:
            self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)
        self.moving_mean = self.add_weight(
            shape, "zeros", trainable=False, name="moving_mean", autocast=False
        )
        self.moving_variance = self.add_weight(
            shape, "ones", trainable=False, name="moving_variance", autocast=False
        )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: channels})

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        scope = innermost_scope()
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        if self.trainable and scope is not None:
            # Whoever opened it asks for no gradient of the maps in between, which would have none;
            # and what is exported, which is not training, needs no double precision.
            alone = not scope.across or replicas.count() == 1
            convolution = convolution_before(x) if training and alone else None
            outputs = self._normalize_in_scope(x, scope, convolution)
        elif self.trainable and training:
            outputs = self._normalize_in_scope(x, MomentsScope(update=True))
        else:
            outputs = self._normalize(x, (self.moving_mean, self.moving_variance))
        film = film_behind(self)
        if film is not None:
            factor, offset = (ops.cast(part, outputs.dtype) for part in film)
            outputs = outputs * factor + offset
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }

    def _normalize_in_scope(
        self, x: Any, scope: MomentsScope, convolution: ConvolutionBefore | None = None
    ) -> Any:
        key = scope.key(self.path)
        maps = _split_groups(x, scope.groups, self.path)
        if scope.given is not None:
            moments = self._given_moments(key, scope, x.dtype)
            outputs = self._normalize(maps, tuple(m[:, None, None, :] for m in moments))
            outputs = ops.reshape(outputs, ops.shape(x))
        elif convolution is not None and pays(convolution):
            mask = None if scope.mask is None else ops.cast(scope.mask, "bool")
            outputs, mean, variance = normalized_convolution(
                convolution, scope.groups, *self._gamma_and_beta(maps), self.epsilon, mask
            )
            outputs.set_shape(x.shape)  # Not a reshape, which would read the maps' own shape.
            moments = (mean, variance)
        else:
            outputs, moments = self._normalize_groups(maps, scope.mask, scope.across)
            outputs = ops.reshape(outputs, ops.shape(x))
        if scope.update:
            self._move_averages(moments, scope.every)
        scope.moments[key] = moments
        return outputs

    def _normalize_groups(
        self, maps: Any, mask: Any = None, across: bool = False
    ) -> tuple[Any, Moments]:
        """Each episode of `[B, n, locations, C]` by its own moments, `[B, C]`."""
        weights = None
        if mask is not None:
            groups, images = ops.shape(maps)[:2]
            mask = ops.cast(ops.cast(mask, "bool"), maps.dtype)
            weights = ops.reshape(mask, (groups, images, 1, 1))
        outputs, mean, variance = normalize_by_own_moments(
            maps, *self._gamma_and_beta(maps), self.epsilon, weights, across
        )
        return outputs, (ops.squeeze(mean, (1, 2)), ops.squeeze(variance, (1, 2)))

    def _gamma_and_beta(self, maps: Any) -> tuple[Any, Any]:
        channels, dtype = maps.shape[-1], maps.dtype
        gamma = ops.cast(self.gamma, dtype) if self.scale else ops.ones(channels, dtype)
        return gamma, ops.cast(self.beta, dtype) if self.center else ops.zeros(channels, dtype)

    def _given_moments(self, key: str, scope: MomentsScope, dtype: str) -> Moments:
        if key not in scope.given:
            raise ValueError(
                f"The given moments have none for the layer {key!r}; they have "
                f"{sorted(scope.given)}. Take them from a moments_scope around a call of the "
                "same model."
            )
        mean, variance = scope.given[key]
        return ops.cast(mean, dtype), ops.cast(variance, dtype)

    def _normalize(self, x: Any, moments: Moments) -> Any:
        # One multiply and one add over the maps: x * s + (beta - mean * s).
        mean, variance = (ops.cast(m, x.dtype) for m in moments)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, x.dtype)
        shift = -mean * scale
        if self.center:
            shift = shift + ops.cast(self.beta, x.dtype)
        return x * scale + shift

    def _move_averages(self, moments: Moments, every: int = 1) -> None:
        """Towards the mean over the episodes of their moments."""
        kept = self.momentum**every
        averages = (self.moving_mean, self.moving_variance)
        for average, moment in zip(averages, moments, strict=True):
            moment = ops.mean(moment, axis=0)
            old = ops.cast(average, moment.dtype)
            average.assign(old * kept + moment * (1.0 - kept))


def _split_groups(x: Any, groups: Any, path: str) -> Any:
    """[B*n, ..., C] -> [B, n, locations, C]."""
    images, *spatial, channels = ops.shape(x)
    if isinstance(images, int) and isinstance(groups, int) and images % groups:
        raise ValueError(
            f"The batch of {images} images at {path!r} is not {groups} episodes of equal size. "
            "Pass to moments_scope the number of episodes folded into the batch axis."
        )
    return ops.reshape(x, (groups, images // groups, math.prod(spatial), channels))
