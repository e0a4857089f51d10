"""Features of all images of a split, computed once for many episodes."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines.class_split import ClassSplit
from data_pipelines.dataset import FewShotDataset
from kfsl.learners.base.given_layers import takes_pixels
from kfsl.learners.base.learner import Learner

#: Images embedded at once; a network that was trained elsewhere makes far larger ones of them.
BATCH, ENLARGED_BATCH = 256, 32


class SplitFeatures:
    """Stands in for a dataset in a pipeline: its episodes hold features instead of images.

    Args:
        classes: `ClassSplit`.
        features: tensor, `[N, ...]`. Features of the split's images, class by class.
    """

    def __init__(self, classes: ClassSplit, features: tf.Tensor) -> None:
        counts = np.asarray(classes.counts)
        self._classes = dataclasses.replace(
            classes, offsets=np.cumsum(counts) - counts, stored_counts=None
        )
        self._features = features

    @property
    def store(self) -> "SplitFeatures":
        """Where the pipeline looks for `tensor`."""
        return self

    def split(self, name: str) -> ClassSplit:
        """The classes, their offsets being rows of `tensor()`."""
        if name != self._classes.name:
            raise ValueError(f"These are features of {self._classes.name!r}; asked for {name!r}.")
        return self._classes

    def tensor(self) -> tf.Tensor:
        return self._features


def embed_split(learner: Learner, dataset: FewShotDataset, split: str) -> SplitFeatures:
    """Embeds each image of a split once.

    Args:
        learner: `Learner`, whose `embed` looks at one image at a time.
        dataset: `FewShotDataset`.
        split: str.

    Returns:
        `SplitFeatures`.
    """
    classes = dataset.split(split)
    images = dataset.store.tensor()
    spans = zip(classes.offsets, classes.counts, strict=True)
    rows = np.concatenate([np.arange(start, start + count) for start, count in spans])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def embed(batch: tf.Tensor) -> tf.Tensor:
        return learner.embed(tf.gather(images, batch)[None], training=False)[0]

    enlarges = takes_pixels(getattr(learner, "backbone", None))
    size = ENLARGED_BATCH if enlarges else BATCH
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    return SplitFeatures(classes, tf.concat([embed(batch) for batch in batches], axis=0))


def feature_bytes(learner: Learner, image_shape: tuple[int, int, int]) -> int | None:
    """Memory that one image's features take.

    Args:
        learner: `Learner`.
        image_shape: tuple of three ints.

    Returns:
        Bytes, or None if `embed` gives the image back: there is nothing to compute ahead.
    """
    image = tf.zeros([1, 1, *image_shape], tf.uint8)
    features: Any = learner.embed(image, training=False)
    if features.dtype == image.dtype and features.shape == image.shape:
        return None
    return math.prod(features.shape) * tf.as_dtype(features.dtype).size
