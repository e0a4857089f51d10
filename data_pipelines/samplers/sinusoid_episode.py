"""A sampler of sinusoids, the smallest regression tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from data_pipelines.samplers.draws import ALGORITHM, check_sizes, stream_seed, substreams
from kfsl.episodes import QUERY_INPUTS, QUERY_TARGETS, SUPPORT_INPUTS, SUPPORT_TARGETS

if TYPE_CHECKING:
    from data_pipelines.class_split import ClassSplit

Range = tuple[float, float]


def sinusoid_episode(
    split: ClassSplit,
    seed: int,
    index: int | tf.Tensor,
    *,
    points: int = 10,
    queries: int = 10,
    amplitudes: Range = (0.1, 5.0),
    phases: Range = (0.0, math.pi),
    inputs: Range = (-5.0, 5.0),
) -> dict[str, tf.Tensor]:
    """Draws a task: `y = amplitude * sin(x - phase)` at some places.

    Args:
        split: `ClassSplit`. Its name alone counts: each split has sinusoids of its own.
        seed: int. Within 64 bits.
        index: int64 scalar. Number of the episode.
        points: int. Places whose values are given.
        queries: int. Places that are asked.
        amplitudes: pair of floats. Between which amplitudes are drawn, uniformly.
        phases: pair of floats. Between which phases are drawn, uniformly.
        inputs: pair of floats. Between which places are drawn, uniformly.

    Returns:
        dict of float32 tensors: `support_inputs` and `support_targets`, `[points, 1]`, and
        `query_inputs` and `query_targets`, `[queries, 1]`.

    Raises:
        ValueError: for sizes below 1, or ranges that are none.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), section 5.1.

    Example:
    ```python
    import numpy as np
    from data_pipelines.function_dataset import FunctionDataset
    from data_pipelines.samplers import sinusoid_episode

    split = FunctionDataset("sinusoids").split("train")
    episode = sinusoid_episode(split, 0, 7, points=5, queries=3)
    assert episode["support_inputs"].shape == (5, 1) and episode["query_targets"].shape == (3, 1)
    assert np.max(np.abs(episode["support_targets"])) <= 5.0
    ```
    """
    check_sizes(points=points, queries=queries)
    for name, bounds in {"amplitudes": amplitudes, "phases": phases, "inputs": inputs}.items():
        if not _is_range(bounds):
            raise ValueError(
                f"{name} must be a pair of numbers, low and high; received {bounds!r}."
            )
    seeds = substreams(stream_seed(split, seed, index), 3)
    amplitude, phase = (
        _uniform(each, [], bounds)
        for each, bounds in zip(seeds, (amplitudes, phases), strict=False)
    )
    places = _uniform(seeds[2], [points + queries, 1], inputs)
    values = amplitude * tf.sin(places - phase)
    return {
        SUPPORT_INPUTS: places[:points],
        SUPPORT_TARGETS: values[:points],
        QUERY_INPUTS: places[points:],
        QUERY_TARGETS: values[points:],
    }


def _is_range(bounds: Any) -> bool:
    numbers = isinstance(bounds, Sequence | np.ndarray) and len(bounds) == 2
    numbers = numbers and all(isinstance(bound, Real) for bound in bounds)
    return numbers and -math.inf < bounds[0] <= bounds[1] < math.inf


def _uniform(seed: tf.Tensor, shape: list[int], bounds: Range) -> tf.Tensor:
    return tf.random.stateless_uniform(
        shape, seed, float(bounds[0]), float(bounds[1]), alg=ALGORITHM
    )
