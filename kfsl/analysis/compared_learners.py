"""Trained learners of several runs, to meet the same episodes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from kfsl.analysis.request import AnalysisRequest, trained_experiment
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.gradient_learner import GradientLearner
    from kfsl.learners.base.learner import Learner

AnyLearner = TypeVar("AnyLearner", bound="Learner")


def gradient_learners(
    request: AnalysisRequest, compare: tuple[RunDirectory, ...], split: str, *kinds: str
) -> tuple[Experiment, dict[str, GradientLearner]]:
    """As `compared`, of learners that gradient steps adapt.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Where their tasks are drawn from.
        *kinds: str. As in `compared`.

    Returns:
        As `compared`.

    Raises:
        FileNotFoundError: if a run has no trained learner.
        ValueError: if a run's learner takes no gradient steps.
    """
    experiment, learners = compared(request, compare, split, *kinds)
    for run in (request.run, *compare):
        checked(learners[run.path], run)
    return experiment, learners


def compared(
    request: AnalysisRequest,
    compare: tuple[RunDirectory, ...],
    split: str,
    *kinds: str,
    base_classes: bool = False,
) -> tuple[Experiment, dict[str, Learner]]:
    """The experiment of a request's run, and the learners of all its runs.

    The other runs give their learners alone: all meet the episodes of the first.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Where their tasks are drawn from.
        *kinds: str. What learners may be asked; see `AnalysisRequest.experiment`.
        base_classes: bool. Whether all are asked about base classes too, which then are the same.

    Returns:
        `Experiment` of `request.run`, and a dict from the runs' paths to learners, the first
        run's in front. gin's configuration is the first run's.

    Raises:
        FileNotFoundError: if a run has no trained learner.
        ValueError: if a run's learner is of another kind, takes images of another shape than
            the first run's, learnt from classes of the split, or cannot be asked about its tasks.
    """
    for run in compare:
        check_trained(run)
    experiment = request.experiment(*kinds)
    from data_pipelines.dataset import BASE_TEST
    from kfsl import configurables
    from kfsl.evaluation.evaluate import EVALUATION_SEED
    from kfsl.evaluation.first_episode import checked_first_episode

    splits = (split, BASE_TEST) if base_classes else (split,)
    learners = {request.run.path: experiment.learner}
    for run in compare:
        # The process has its threads by now; the other run may name another number.
        bindings = [*request.bindings, "set_up.threads = 0"]
        trained = trained_experiment(run, bindings, *kinds)
        learners[run.path] = trained.learner
        configurables.check_comparison(run, trained, experiment, splits, bindings)
        _check_shapes(request.run, experiment, run, learners[run.path])
    configurables.parse_text(request.run.config, request.bindings)
    for learner in learners.values():
        # An analysis asks a learner in parts, without the checks that evaluation has.
        alone = dataclasses.replace(experiment, learner=learner)
        checked_first_episode(alone, split, EVALUATION_SEED)
    return experiment, learners


def _check_shapes(
    first: RunDirectory, experiment: Experiment, run: RunDirectory, learner: Learner
) -> None:
    """Refuses a learner that cannot look at the first run's tasks, before TensorFlow does."""
    of_classes = learner.objective.has_classes
    if of_classes != experiment.learner.objective.has_classes:
        return  # Of tasks of another kind the learner tells itself.
    if of_classes:
        backbone = getattr(learner, "backbone", None)
        given = experiment.dataset.image_shape
        expected = None if backbone is None else tuple(backbone.input_shape[1:])
    else:
        given, expected = experiment.learner.input_shape, learner.input_shape
    if None in (given, expected):
        return
    if len(given) != len(expected) or any(
        size not in (None, own) for size, own in zip(expected, given, strict=True)
    ):
        raise ValueError(
            f"All runs meet the tasks of the first: the {'images' if of_classes else 'inputs'} of "
            f"{first.path!r} are of shape {tuple(given)}, and the network of {run.path!r} takes "
            f"{expected}. Compare runs of one shape."
        )


def checked(learner: Learner, run: RunDirectory) -> GradientLearner:
    """The learner of a run, if gradient steps adapt it.

    Raises:
        ValueError: otherwise.
    """
    from kfsl.learners.base.gradient_learner import GradientLearner

    if not isinstance(learner, GradientLearner):
        raise ValueError(
            f"{run.path!r} has a {type(learner).__name__}, which takes no gradient steps: this "
            "analysis is for gradient-based learners such as MAML."
        )
    return learner


def with_settings(learner: AnyLearner, **settings: Any) -> AnyLearner:
    """A copy of a learner with the same weights and some other arguments.

    Args:
        learner: `Learner`.
        **settings: arguments of its constructor that leave the weights as they are, such as
            `gradient_noise`, or `noise` of a `CrossModulationLearner`.

    Returns:
        A learner of the same class; the given one is not touched.

    Example:
    ```python
    from kfsl.analysis.compared_learners import with_settings
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.maml import MAML

    learner = MAML(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2), ways=2)
    assert with_settings(learner, gradient_noise=0.1).gradient_noise == 0.1
    assert learner.gradient_noise == 0.0
    ```
    """
    copy = type(learner).from_config({**learner.get_config(), **settings})
    copy.set_weights(learner.get_weights())
    return copy


@contextlib.contextmanager
def compiling_often() -> Iterator[None]:
    """Holds back TensorFlow's advice against it: each level of noise is a learner of its own."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
