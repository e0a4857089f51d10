"""Queries of none of an episode's classes in an evaluation."""

import dataclasses
import functools
from collections.abc import Callable

from kfsl.experiment import Experiment


def with_unknown_queries(experiment: Experiment, sampler: Callable) -> Experiment:
    """The experiment, its evaluation asking about classes that the episodes do not have too.

    Args:
        experiment: `Experiment`.
        sampler: function. `open_set_episode`, perhaps with gin's bindings.

    Returns:
        `Experiment`, of the same learner, data and episodes.
    """
    known = experiment.evaluation_sampler
    return dataclasses.replace(
        experiment, evaluation_sampler=functools.partial(sampler, known=known)
    )
