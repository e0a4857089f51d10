"""The callbacks of a training, in their order."""

import os

import keras

from kfsl.distribution import strategy
from kfsl.experiment import Experiment
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.callbacks.alone import Alone
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.figure_summary import FigureSummary
from kfsl.training.callbacks.kept_learners import KeptLearners
from kfsl.training.callbacks.metrics_log import MetricsLog
from kfsl.training.callbacks.run_summary import RunSummary
from kfsl.training.callbacks.stop_together import StopTogether
from kfsl.training.callbacks.training_checkpoint import TrainingCheckpoint
from kfsl.training.callbacks.training_concerns import TrainingConcerns
from kfsl.training.callbacks.training_signals import TrainingSignals
from kfsl.training.train_arguments import TrainArguments
from kfsl.training.training_figures import training_figures


def training_callbacks(
    experiment: Experiment,
    run: RunDirectory,
    arguments: TrainArguments,
    operative: str,
    best: BestLearner,
    checkpoint: TrainingCheckpoint,
) -> list[keras.callbacks.Callback]:
    """What watches a training, from what adds to the logs to what saves.

    Of workers that train together one writes; what decides how training goes on is with all.

    Args:
        experiment: `Experiment`.
        run: `RunDirectory`.
        arguments: `TrainArguments`.
        operative: str. The configuration that was used, for TensorBoard.
        best: `BestLearner`.
        checkpoint: `TrainingCheckpoint`, the last that writes: what others wrote for an epoch is
            written again if the process dies in between.

    Returns:
        list of Keras callbacks.
    """
    written = _written(experiment, run, arguments, operative) if strategy.writes() else []
    if strategy.spans_workers():
        written = [Alone(callback) for callback in written]
    return [
        keras.callbacks.TerminateOnNaN(),
        TrainingSignals(),
        *arguments.callbacks,
        *written,
        best,
        checkpoint,
        *([StopTogether()] if strategy.spans_workers() else []),
    ]


def _written(
    experiment: Experiment, run: RunDirectory, arguments: TrainArguments, operative: str
) -> list[keras.callbacks.Callback]:
    return [
        TrainingConcerns(),
        *_figure_summaries(experiment, run, arguments),
        RunSummary(os.path.join(run.tensorboard, "train"), operative, parameters_of(operative)),
        keras.callbacks.TensorBoard(
            run.tensorboard,
            histogram_freq=arguments.histograms_every,
            write_graph=False,
            profile_batch=arguments.profile_steps or 0,
        ),
        MetricsLog(run, arguments.steps_per_epoch),
        KeptLearners({epoch: run.kept_learner(epoch) for epoch in arguments.keep_epochs}),
    ]


def _figure_summaries(
    experiment: Experiment, run: RunDirectory, arguments: TrainArguments
) -> list[FigureSummary]:
    folder = os.path.join(run.tensorboard, "validation")
    return [
        FigureSummary(folder, name, draw, arguments.figures_every)
        for name, draw in training_figures(experiment, arguments).items()
    ]


def parameters_of(config: str) -> dict[str, str | float | int | bool]:
    """The bindings that HParams can compare: those of one line."""
    pairs = (line.split(" = ", 1) for line in config.splitlines() if " = " in line)
    return {name: value for name, value in pairs if not name.startswith("#") and value != "\\"}
