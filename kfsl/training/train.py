"""The training call: fit, resume, callbacks wired together."""

import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from matplotlib.figure import Figure

from data_pipelines import pipeline
from data_pipelines.samplers.draws import check_sizes
from kfsl.experiment import Experiment
from kfsl.learners.base.learner import Learner
from kfsl.runs.environment import environment, now
from kfsl.runs.files import write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.figure_summary import FigureSummary
from kfsl.training.callbacks.finite_weights import weights_are_finite
from kfsl.training.callbacks.metrics_log import MetricsLog
from kfsl.training.callbacks.run_summary import RunSummary
from kfsl.training.callbacks.training_checkpoint import TrainingCheckpoint
from kfsl.training.callbacks.training_signals import TrainingSignals
from kfsl.training.initial_weights import copy_initial_weights
from kfsl.training.process import onednn, threads

#: Draws a learner's view of an episode: (learner, episode, query labels, class names).
FigureFunction = Callable[[keras.Model, dict[str, Any], Any, Sequence[str]], Figure]


class TrainingError(RuntimeError):
    """Training that cannot go on."""


def train(
    experiment: Experiment,
    run: RunDirectory,
    *,
    operative: Callable[[], str] = str,
    optimizer: keras.optimizers.Optimizer | None = None,
    part_optimizers: Mapping[str, keras.optimizers.Optimizer] | None = None,
    epochs: int = 100,
    steps_per_epoch: int = 100,
    meta_batch: int = 1,
    validation_episodes: int = 200,
    validation_meta_batch: int = 4,
    validation_every: int = 1,
    patience: int | None = None,
    seed: int = 0,
    start_from: str | None = None,
    jit_compile: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    figures: Sequence[FigureFunction] = (),
    figures_every: int = 5,
    histograms_every: int = 0,
    profile_steps: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Trains a learner on episodes, or goes on where an interrupted run stopped.

    Episode number `i` of training is the same whenever it is drawn, and every variable is in
    the checkpoint, so a run that was killed ends with the bits of one that was not.

    Args:
        experiment: `Experiment`.
        run: `RunDirectory`, started.
        operative: callable. Called when everything is constructed and nothing is trained;
            returns the text of the operative configuration.
        optimizer: Keras optimiser; `Adam(1e-3)` when None.
        part_optimizers: dict or None. Optimisers of their own for the learner's `weight_parts`.
        epochs: int. Each ends with validation and a checkpoint.
        steps_per_epoch: int. Updates per epoch.
        meta_batch: int. Episodes per update.
        validation_episodes: int. Fixed episodes of the split `val`; none when it is empty.
        validation_meta_batch: int. Episodes evaluated at once.
        validation_every: int. Epochs between two validations.
        patience: int or None. Validations without improvement after which training stops.
        seed: int. Which episodes training draws.
        start_from: str or None. A run directory, or a `.keras` file, whose weights the learner
            begins with wherever it has the same ones; see `copy_initial_weights`.
        jit_compile: bool. XLA; slower on CPU as a rule, and not deterministic: bind
            `set_up.deterministic = False` with it.
        callbacks: Keras callbacks of your own; they come before those that save.
        figures: functions `(learner, episode, query_labels, class_names) -> Figure`, shown in
            TensorBoard for the first validation episode.
        figures_every: int. Epochs between two of them.
        histograms_every: int. Epochs between weight histograms in TensorBoard; 0 for none.
        profile_steps: pair of int or None. First and last step to profile.

    Returns:
        The last epoch's logs; empty if the run was finished before.

    Raises:
        TrainingError: if the loss is no longer finite. The last good weights are kept.
        ValueError: if the split has too few classes or images for the episodes, a size is not
            positive, the run was begun on other data, or `start_from` does not fit.
    """
    check_sizes(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        meta_batch=meta_batch,
        validation_meta_batch=validation_meta_batch,
        validation_every=validation_every,
        figures_every=figures_every,
    )
    learner = experiment.learner
    _check_same_data(run, experiment)
    _compile(learner, optimizer or keras.optimizers.Adam(1e-3), part_optimizers, jit_compile)
    validation = _validation(experiment, validation_episodes, validation_meta_batch, seed)
    _build(learner, _episodes(experiment, seed, 0, meta_batch))

    best = BestLearner(run.best_learner, patience=patience, validated=validation is not None)
    checkpoint = TrainingCheckpoint(run.checkpoints, learner, best)
    first_epoch = checkpoint.restore()
    if first_epoch >= epochs or best.exhausted:
        return {}
    start = None
    if start_from is not None and first_epoch == 0:
        start = copy_initial_weights(learner, start_from)
        print(f"{len(start.copied)} weights are those of {start_from}, {len(start.own)} new.")
    config = operative()
    write_text(run.operative_path, config)
    run.truncate_metrics(first_epoch * steps_per_epoch)
    if start is not None:
        run.update_metadata(start.metadata)
    _record_session(run, _metadata(experiment, seed) | environment())

    all_callbacks = [
        keras.callbacks.TerminateOnNaN(),
        TrainingSignals(),
        *callbacks,
        *_figure_summaries(experiment, run, figures, figures_every, seed),
        RunSummary(os.path.join(run.tensorboard, "train"), config, _parameters(config)),
        keras.callbacks.TensorBoard(
            run.tensorboard,
            histogram_freq=histograms_every,
            write_graph=False,
            profile_batch=profile_steps or 0,
        ),
        MetricsLog(run, steps_per_epoch),
        best,
        checkpoint,
    ]
    history = learner.fit(
        _episodes(experiment, seed, first_epoch * steps_per_epoch, meta_batch),
        steps_per_epoch=steps_per_epoch,
        initial_epoch=first_epoch,
        epochs=epochs,
        validation_data=validation,
        validation_freq=validation_every,
        callbacks=all_callbacks,
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    logs = {name: values[-1] for name, values in history.history.items()}
    if not (math.isfinite(logs["loss"]) and weights_are_finite(learner)):
        raise TrainingError(
            "The loss or a weight is no longer finite in epoch "
            f"{history.epoch[-1] + 1}; training stopped. {run.path} keeps the last good weights; "
            "lower the learning rate, and train into another --run_dir."
        )
    run.update_metadata({"finished": now(), "steps": (history.epoch[-1] + 1) * steps_per_epoch})
    run.update_metadata({"training_seconds": run.training_seconds()})
    return logs


def _compile(
    learner: Learner,
    optimizer: keras.optimizers.Optimizer,
    part_optimizers: Mapping[str, keras.optimizers.Optimizer] | None,
    jit_compile: bool,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # It becomes the error below.
        learner.compile(optimizer, part_optimizers=part_optimizers, jit_compile=jit_compile)
    if jit_compile and not learner.jit_compile:
        raise ValueError(
            "train.jit_compile = True is not possible with deterministic operations; bind "
            "set_up.deterministic = False too."
        )


def _check_same_data(run: RunDirectory, experiment: Experiment) -> None:
    before = run.metadata.get("dataset_fingerprint")
    if before is not None and before != experiment.dataset.fingerprint:
        raise ValueError(
            f"{run.path} was begun on other data: the dataset {experiment.dataset.name!r} or its "
            "division has changed since. Train into another --run_dir."
        )


def _episodes(experiment: Experiment, seed: int, start: int, meta_batch: int) -> tf.data.Dataset:
    return pipeline.episodes(
        experiment.dataset,
        "train",
        experiment.sampler,
        seed=seed,
        start=start,
        meta_batch=meta_batch,
        label_level=experiment.label_level,
    )


def _validation(
    experiment: Experiment, episodes: int, meta_batch: int, seed: int
) -> tf.data.Dataset | None:
    if not episodes or not len(experiment.dataset.splits.get("val", ())):
        return None
    return pipeline.episodes(
        experiment.dataset,
        "val",
        experiment.evaluation_sampler,
        seed=seed,
        count=max(1, episodes // meta_batch),
        meta_batch=meta_batch,
        label_level=experiment.label_level,
    )


def _build(learner: keras.Model, episodes: tf.data.Dataset) -> None:
    # Slots before the first trace: a step that makes variables is traced twice.
    for episode, query_labels in episodes.take(1):
        learner.compute_loss(episode, query_labels, learner(episode))
    learner.reset_metrics()
    learner.build_optimizers()


def _figure_summaries(
    experiment: Experiment,
    run: RunDirectory,
    figures: Sequence[FigureFunction],
    every: int,
    seed: int,
) -> list[FigureSummary]:
    split = "val" if len(experiment.dataset.splits.get("val", ())) else "train"
    episode, query_labels = pipeline.episode_at(
        experiment.dataset, split, experiment.evaluation_sampler, seed=seed, index=0
    )
    names = experiment.dataset.split(split).class_names
    return [
        FigureSummary(
            os.path.join(run.tensorboard, "validation"),
            figure.__name__,
            lambda learner, draw=figure: draw(learner, episode, query_labels, names),
            every,
        )
        for figure in figures
    ]


def _record_session(run: RunDirectory, values: dict[str, Any]) -> None:
    """Adds this call to the metadata; those of the calls before it stay, as `sessions`."""
    earlier = run.metadata.get("sessions", [])
    changed = [
        f"{name} was {earlier[-1][name]} and is {values[name]}"
        for name in ("threads", "onednn")
        if earlier and earlier[-1].get(name) not in (None, values[name])
    ]
    if changed:
        print(
            f"Mind that {' and '.join(changed)}: the bits will not be those of a run that was "
            "not interrupted."
        )
    told = ("commit", "threads", "onednn", "command_line")
    session = {"started": now()} | {name: values[name] for name in told}
    run.update_metadata(values | {"sessions": [*earlier, session]})


def _metadata(experiment: Experiment, seed: int) -> dict[str, Any]:
    return {
        "learner": type(experiment.learner).__name__,
        "parameters": sum(
            math.prod(weight.shape) for weight in experiment.learner.trainable_weights
        ),
        "dataset": experiment.dataset.name,
        "dataset_fingerprint": experiment.dataset.fingerprint,
        "bn_policy": experiment.learner.bn_policy,
        "transductive": experiment.learner.transductive,
        "seed": seed,
        "threads": threads(),
        "onednn": onednn(),
        "precision": keras.config.dtype_policy().name,
    }


def _parameters(config: str) -> dict[str, str | float | int | bool]:
    """The bindings that HParams can compare: those of one line."""
    pairs = (line.split(" = ", 1) for line in config.splitlines() if " = " in line)
    return {name: value for name, value in pairs if not name.startswith("#") and value != "\\"}
