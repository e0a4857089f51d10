"""Learners that are a head on the features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kfsl.layers.cosine import l2_normalize
from kfsl.layers.pooled_maps import pooled_maps
from kfsl.learners.base.argument_checks import check_choice, check_whole_numbers
from kfsl.learners.base.given_layers import given_network
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.learners.base.vectors import flat_features

POOLINGS = ("average", "max", "flatten")


class FrozenFeatures(MetricLearner):
    """A learner that trains nothing: a finished backbone, and a head for each support set.

    Features are pooled to vectors, centred, and divided by their norm; a subclass is told vectors
    of one length in `fit_support` and `classify`. The centre is the mean feature of images of
    base classes (`see_base_images`): a training on them sees to it before it validates
    (`train.epochs = 0`), and it is kept with the weights. Until then it is 0, and vectors are
    divided by their norm alone.

    Args:
        backbone: `keras.Model`. It is frozen, to the bit.
        pooling: str. How maps become vectors: `"average"`, `"max"` or `"flatten"`.
        center_images: int. Images of base classes whose mean feature is the centre; 0 for none.
        unit_norm: bool. Whether vectors are divided by their norm.
        **kwargs: see `MetricLearner`.

    Raises:
        ValueError: for an unknown `pooling`, a negative number of images, a `bn_policy` other
            than `"running"`, or maps of no fixed size that are to be flattened.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        pooling: str = "average",
        center_images: int = 2000,
        unit_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        check_choice("pooling", pooling, POOLINGS)
        check_whole_numbers(0, center_images=center_images)
        check_choice("bn_policy", kwargs.get("bn_policy", "running"), ("running",))
        # Before it is asked whether its normalisation knows episodes: frozen it need not.
        backbone = given_network("backbone", backbone)
        backbone.trainable = False
        super().__init__(backbone, **kwargs)
        self.pooling = pooling
        self.center_images = center_images
        self.unit_norm = unit_norm
        self.center = self.add_weight(
            (self._width(),), "zeros", trainable=False, name="center", autocast=False
        )

    def _width(self) -> int:
        shape = self.backbone.output_shape[1:]
        flat = self.pooling == "flatten" or len(shape) != 3
        if flat and None in shape:
            raise ValueError(
                f"Features of the shape {shape} cannot be flattened: give the backbone an "
                "image_shape without None, or pool them."
            )
        return int(np.prod(shape)) if flat else shape[-1]

    @property
    def base_images(self) -> int:
        return self.center_images

    def see_base_images(self, images: Iterable[Any]) -> None:
        """Makes the mean feature of images of base classes the centre.

        Args:
            images: iterable of tensors, `[n, H, W, C]`, raw pixels; each a batch.

        Raises:
            ValueError: if there is no image.
        """

        # As a graph: called by itself a network keeps what all of its layers gave until its end.
        @tf.function(autograph=False, reduce_retracing=True)
        def embedded(batch: Any) -> Any:
            return self._vectors(self.embed(ops.expand_dims(batch, 0)))[0]

        total, count = 0.0, 0
        for batch in images:
            features = embedded(tf.convert_to_tensor(batch))
            # Sums in double precision: they do not depend on how images are divided.
            total = total + np.sum(np.asarray(features, "float64"), axis=0)
            count += len(features)
        if not count:
            raise ValueError("A centre is the mean of some images' features; received no image.")
        self.center.assign(total / count)

    def features_alone(self, images: Any, training: bool) -> Any:
        del training  # What is frozen drops nothing, either.
        return self.backbone(images, training=False)

    def transformed(self, features: Any) -> Any:
        """Backbone features as the head takes them.

        Args:
            features: tensor, `[B, n, ...]`, from `embed`.

        Returns:
            Tensor of at least float32, `[B, n, D]`.
        """
        vectors = self._vectors(features)
        vectors = vectors - ops.cast(self.center, vectors.dtype)
        return l2_normalize(vectors) if self.unit_norm else vectors

    def _vectors(self, features: Any) -> Any:
        if len(features.shape) == 5:
            return pooled_maps(features, self.pooling)[:, :, 0]
        return flat_features(features)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "center_images": self.center_images,
            "unit_norm": self.unit_norm,
        }
