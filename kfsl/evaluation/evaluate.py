"""What a learner reaches on fixed episodes, with its 95 % interval."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from kfsl.argument_checks import LARGEST_SEED, check_number, check_whole
from kfsl.episodes import (
    QUERY_IMAGES,
    SEED,
    SUPPORT_IMAGES,
    SUPPORT_LABELS,
)
from kfsl.evaluation.first_episode import check_ways, checked_first_episode
from kfsl.evaluation.parts import EvaluationPart, JudgedBatch, evaluation_of
from kfsl.evaluation.streams import EvaluationStreams
from kfsl.experiment import Experiment
from kfsl.learners.base.learner import Learner
from kfsl.runs.evaluation_record import Evaluation

#: Not the training seed: runs that differ in that one alone meet the same test episodes.
EVALUATION_SEED = 12345


def evaluate(
    experiment: Experiment,
    *,
    split: str = "test",
    episodes: int = 600,
    seed: int = EVALUATION_SEED,
    meta_batch: int = 4,
    feature_memory: int = 2**30,
    base_queries: int = 0,
    shard: tuple[int, int] | None = None,
    calibration: dict[str, Any] | None = None,
) -> Evaluation | EvaluationPart:
    """Evaluates a learner on episodes `0..episodes - 1` of a split.

    The episodes are those of `experiment.evaluation_sampler`, a pure function of seed, split
    and number, so every learner meets the same ones. Where moving averages normalise and the
    episodes would embed more images than the split has, each image is embedded once and the
    episodes are drawn from the features.

    Args:
        experiment: `Experiment`.
        split: str. `"train"`, `"val"`, `"test"` or `"base_test"`.
        episodes: int. At least 2. Of a sampler of base classes, batches.
        seed: int. Seed of the stream of episodes.
        meta_batch: int. Episodes computed at once; changes the speed, not the result.
        feature_memory: int, bytes. Above it, features are not kept.
        base_queries: int. Besides each episode's own queries, as many held-out images of base
            classes; all are told apart among the base classes and the episode's. Defaults to
            `0`: the episode's classes alone.
        shard: pair of int or None. Which of how many parts to compute alone, from 0. Defaults to
            None: all of it.
        calibration: dict or None. The learner's, as `Calibration.served` gives it: what it makes
            of the probabilities is measured too. Defaults to None: they are measured as they are.

    Returns:
        `Evaluation`; of a shard `EvaluationPart`, of which `kfsl.evaluation.parts.merged` makes
        the evaluation that a single process would have given.

    Raises:
        ValueError: if an argument is out of range, the split lacks classes or images for its
            episodes, the learner is made for fewer ways or another kind of task, or its outputs
            are not numbers.

    Example:
    ```python
    import functools
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.samplers import fixed_episode
    from kfsl.backbones.conv4 import Conv4
    from kfsl.evaluation.evaluate import evaluate
    from kfsl.experiment import Experiment
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass(name, "letters", 4) for name in "abc"]
        images = [(c, np.full((8, 8, 1), 80 * c, "uint8")) for c in range(3) for _ in range(4)]
        write_class_store(f"{folder}/letters", classes, images, image_shape=(8, 8, 1))
        store = ClassStore.open(f"{folder}/letters")
        experiment = Experiment(
            learner=PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2)),
            dataset=FewShotDataset("letters", store, {"test": [0, 1, 2]}),
            sampler=functools.partial(fixed_episode, ways=2, shots=1, queries=3),
        )
        evaluation = evaluate(experiment, episodes=4)
    assert evaluation.episodes == 4
    ```
    """
    started = time.monotonic()
    check_whole("evaluate.episodes", episodes, 2)
    check_whole("evaluate.seed", seed, -LARGEST_SEED, LARGEST_SEED)
    check_whole("evaluate.meta_batch", meta_batch, 1)
    check_number("evaluate.feature_memory", feature_memory, 0)
    check_whole("evaluate.base_queries", base_queries, 0)
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise ValueError(
            f"Of {shard[1]} parts the first is 0 and the last {shard[1] - 1}; received {shard[0]}."
        )
    learner = experiment.learner
    first = checked_first_episode(experiment, split, seed)
    streams = EvaluationStreams(
        experiment,
        split,
        seed=seed,
        episodes=episodes,
        images=sum(len(first[name]) for name in first if name.endswith("_indices")),
        meta_batch=meta_batch,
        feature_memory=feature_memory,
        base_queries=base_queries,
        shard=shard or (0, 1),
    )
    predict = compiled_prediction(learner, streams.embedded, joint=streams.base_classes > 0)

    about = _about(experiment, split, seed, streams.base_classes)
    open_set = "query_labels" in first and bool(np.any(first["query_labels"] < 0))
    about |= {"calibration": calibration, "open_set": open_set}
    part = EvaluationPart(about, streams.class_names, episodes, meta_batch, shard or (0, 1))
    batches = _judged(streams, learner, predict, seed, episodes, meta_batch)
    total = sum(min(meta_batch, episodes - number * meta_batch) for number in streams.numbers)
    with tqdm.tqdm(total=total, desc=f"evaluate {split}", unit="ep", disable=None) as bar:
        batches = _counted(batches, bar)
        if shard is not None:
            part.batches = list(batches)
            part.seconds = _since(started)
            return part
        found = evaluation_of(part, batches, learner.objective)
    return dataclasses.replace(found, seconds=_since(started))


def _judged(
    streams: EvaluationStreams,
    learner: Learner,
    predict: Callable,
    seed: int,
    episodes: int,
    meta_batch: int,
) -> Iterator[JudgedBatch]:
    """The meta-batches of a stream, with the learner's answers; images are left out."""
    for number, (episode, query_labels) in zip(streams.numbers, streams.elements(), strict=True):
        check_ways(learner, episode)
        outputs = _outputs(predict, episode, seed, number * meta_batch)
        kept = min(meta_batch, episodes - number * meta_batch)
        small = {
            name: tensor.numpy()[:kept]
            for name, tensor in episode.items()
            if name not in (SUPPORT_IMAGES, QUERY_IMAGES)
        }
        yield JudgedBatch(number, small, query_labels.numpy()[:kept], outputs[:kept])


def _about(experiment: Experiment, split: str, seed: int, base_classes: int) -> dict[str, Any]:
    """What is known of an evaluation before anything is counted."""
    learner, dataset = experiment.learner, experiment.dataset
    return {
        "split": split,
        "seed": seed,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "learner": type(learner).__name__,
        "bn_policy": learner.bn_policy,
        "transductive": learner.transductive,
        "base_classes": base_classes,
        "mode_names": list(dataset.split(split).mode_names),
        "metric": learner.objective.measure.name,
    }


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _counted(batches: Iterator[JudgedBatch], bar: tqdm.tqdm) -> Iterator[JudgedBatch]:
    for batch in batches:
        yield batch
        bar.update(len(batch.labels))


def compiled_prediction(learner: Learner, embedded: bool = False, joint: bool = False) -> Callable:
    """A compiled function from episodes to a learner's outputs.

    Args:
        learner: `Learner`.
        embedded: bool. The episodes hold what `learner.embed` made of the images.
        joint: bool. Queries may be of base classes too.

    Returns:
        `(episode, seed) -> outputs [B, Q, width]`, of classes logits. The seed, int64 `[2]`, is
        for learners that draw at adaptation: episode `b` of a meta-batch is number `seed[1] + b`
        of stream `seed[0]`.
    """

    objective = learner.objective
    inputs, queries = objective.support_inputs, objective.query_inputs

    @tf.function(reduce_retracing=True)
    def outputs(episode: dict[str, tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
        if objective.has_classes and SUPPORT_LABELS not in episode:
            query = episode[queries] if embedded else learner.embed(episode[queries])
            return learner.classify_base(query)[objective.output]
        episode = {**episode, SEED: seed}
        if not (embedded or joint):
            return learner(episode, training=False)[objective.output]
        support, query = episode[inputs], episode[queries]
        if not embedded:
            support, query = learner.embed_episode(episode, training=False)
        return learner.answer(support, query, episode, joint=joint)[objective.output]

    return outputs


def _outputs(
    predict: Callable, episode: dict[str, tf.Tensor], seed: int, number: int
) -> np.ndarray:
    outputs = predict(episode, tf.constant([seed, number], tf.int64)).numpy()
    if np.isnan(outputs).any():
        raise ValueError(
            f"The outputs of episode {number}, or one soon after, are not numbers: training "
            "diverged. Train with a smaller learning rate."
        )
    return outputs
