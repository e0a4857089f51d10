"""The episodes of an evaluation, from images or from features that were computed before."""

import functools
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from data_pipelines import pipeline
from data_pipelines.dataset import BASE_TEST
from data_pipelines.samplers import base_batch
from kfsl.episodes import QUERY_CLASSES, QUERY_IMAGES
from kfsl.evaluation.split_features import embed_split, feature_bytes
from kfsl.experiment import Experiment

Element = tuple[dict[str, tf.Tensor], tf.Tensor]


class EvaluationStreams:
    """Meta-batches of episodes of a split, perhaps with queries of base classes.

    Where moving averages normalise and the episodes would embed more images than a split has,
    each image of it is embedded once.

    Args:
        experiment: `Experiment`.
        split: str.
        seed: int.
        episodes: int. As many will be drawn.
        images: int. Images that one of them has of the split.
        meta_batch: int.
        feature_memory: int, bytes. Above it, features are not kept.
        base_queries: int. Queries of base classes in each episode. Defaults to `0`.
        shard: pair of int. Which of how many parts to draw, from 0: of the meta-batches every so
            many'th, so that each is what it is without parts. Defaults to all.
    """

    def __init__(
        self,
        experiment: Experiment,
        split: str,
        *,
        seed: int,
        episodes: int,
        images: int,
        meta_batch: int,
        feature_memory: int,
        base_queries: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self._experiment = experiment
        self._split = split
        self._seed = seed
        self._episodes = episodes
        self._meta_batch = meta_batch
        self._base_queries = base_queries
        self._shard = shard
        self.class_names = experiment.dataset.split(split).class_names
        self.base_classes = 0
        if base_queries:
            names = experiment.dataset.split(BASE_TEST).class_names
            self.base_classes = len(names)
            self.class_names = (*names, *self.class_names)
        #: Whether features stand for images.
        self.embedded = images * episodes > experiment.dataset.split(
            split
        ).num_images and self._can_keep(feature_memory)

    @property
    def numbers(self) -> range:
        """Of the meta-batches that are drawn."""
        first, step = self._shard
        return range(first, -(-self._episodes // self._meta_batch), step)

    def elements(self) -> Iterator[Element]:
        """Draws them.

        Yields:
            Episodes and labels, as the pipeline gives them; base classes before the split's.
        """
        new = self._stream(self._split, self._experiment.evaluation_sampler)
        if not self._base_queries:
            yield from new
            return
        base = self._stream(BASE_TEST, functools.partial(base_batch, batch_size=self._base_queries))
        for one, other in zip(new, base, strict=True):
            yield self._joined(one, other)

    def _stream(self, split: str, sampler: Any) -> tf.data.Dataset:
        source: Any = self._experiment.dataset
        if self.embedded:
            source = embed_split(self._experiment.learner, source, split)
        return pipeline.episodes(
            source,
            split,
            self._sampler_of_part(sampler),
            seed=self._seed,
            count=len(self.numbers),
            meta_batch=self._meta_batch,
        )

    def _sampler_of_part(self, sampler: Any) -> Any:
        (part, parts), size = self._shard, self._meta_batch
        if parts == 1:
            return sampler

        def drawn(split: Any, seed: int, index: tf.Tensor) -> dict[str, tf.Tensor]:
            whole = (index // size * parts + part) * size + index % size
            return sampler(split, seed, whole)

        return drawn

    def _can_keep(self, memory: int) -> bool:
        learner, dataset = self._experiment.learner, self._experiment.dataset
        if learner.bn_policy != "running":
            return False
        size = feature_bytes(learner, dataset.image_shape)
        splits = [self._split] + ([BASE_TEST] if self._base_queries else [])
        images = sum(dataset.split(split).num_images for split in splits)
        return size is not None and size * images <= memory

    def _joined(self, new: Element, base: Element) -> Element:
        """Queries of both; those of base classes first."""
        (episode, labels), (batch, base_labels) = new, base
        shift = self.base_classes
        joined = {
            **episode,
            QUERY_IMAGES: tf.concat([batch[QUERY_IMAGES], episode[QUERY_IMAGES]], axis=1),
            QUERY_CLASSES: tf.concat(
                [batch[QUERY_CLASSES], episode[QUERY_CLASSES] + shift], axis=1
            ),
        }
        return joined, tf.concat([base_labels, labels + shift], axis=1)
