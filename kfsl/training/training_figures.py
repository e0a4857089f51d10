"""The figures that a training shows, and whether they can be drawn of its learner."""

import contextlib
import functools
from collections.abc import Callable

import keras
from matplotlib.figure import Figure

from data_pipelines import pipeline
from kfsl.command_line.command import one_line
from kfsl.distribution import strategy
from kfsl.experiment import Experiment
from kfsl.training.callbacks.figure_summary import figure_to_rgb
from kfsl.training.train_arguments import FigureFunction, TrainArguments
from kfsl.training.training_episodes import has_validation

#: What a figure raises of a learner or an episode that it is not made for.
NOT_MADE_FOR_IT = (ValueError, TypeError, LookupError, AttributeError)


def training_figures(
    experiment: Experiment, arguments: TrainArguments
) -> dict[str, Callable[[keras.Model], Figure]]:
    """Draws a learner's view of one episode, always the same: of validation, if there is any.

    Args:
        experiment: `Experiment`.
        arguments: `TrainArguments`.

    Returns:
        dict from names to functions of a learner.
    """
    if not arguments.figures:
        return {}
    split = "val" if has_validation(experiment) else "train"
    episode, query_labels = pipeline.episode_at(
        experiment.dataset, split, experiment.evaluation_sampler, seed=arguments.seed, index=0
    )
    names = experiment.dataset.split(split).class_names

    def drawn(figure: FigureFunction, learner: keras.Model) -> Figure:
        return figure(learner, episode, query_labels, names)

    return {figure.__name__: functools.partial(drawn, figure) for figure in arguments.figures}


def check_figures(experiment: Experiment, arguments: TrainArguments) -> None:
    """Draws each figure once, so that one that cannot be drawn is told before a run begins.

    Args:
        experiment: `Experiment`, whose learner is built.
        arguments: `TrainArguments`.

    Raises:
        ValueError: naming the figure.
    """
    # As the callbacks draw: see `Alone`. All workers do, so that all of them end.
    with strategy.alone() if strategy.spans_workers() else contextlib.nullcontext():
        for name, draw in training_figures(experiment, arguments).items():
            try:
                figure_to_rgb(draw(experiment.learner))
            except NOT_MADE_FOR_IT as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                raise ValueError(
                    f"train.figures: {name} cannot be drawn of this "
                    f"{type(experiment.learner).__name__} and its episodes ({kind}"
                    f"{one_line(error).rstrip('.')}). Leave it out, or name one that fits."
                ) from error
