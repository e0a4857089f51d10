"""A training that is constructed, and then begins or goes on."""

import functools
import math
import os
import sys
import warnings
import zlib

import keras

from kfsl.distribution import strategy
from kfsl.experiment import Experiment
from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.metrics_log import MetricsLog
from kfsl.training.callbacks.training_checkpoint import TrainingCheckpoint
from kfsl.training.claimed_run import ClaimedRun
from kfsl.training.disk_space import full_disk_told
from kfsl.training.initial_weights import InitialWeights, copy_initial_weights
from kfsl.training.learnt_classes import check_same_data
from kfsl.training.lost_worker import lost_worker_told
from kfsl.training.session_record import record_session
from kfsl.training.train_arguments import TrainArguments
from kfsl.training.training_callbacks import training_callbacks
from kfsl.training.training_episodes import (
    base_images,
    check_classes,
    first_episodes,
    training_episodes,
    validation_episodes,
)
from kfsl.training.training_figures import check_figures


class TrainingError(RuntimeError):
    """Training that cannot go on."""


class TrainingSession:
    """One call's share of a run: all of it, or what an interrupted call left to do.

    Constructed, the learner is compiled, built, and restored or given its initial weights;
    nothing is written. Only one session at a time can have a run directory.

    Args:
        experiment: `Experiment`.
        run: `RunDirectory`.
        arguments: `TrainArguments`.

    Raises:
        RunDirectoryError: if another process trains into the run directory, or it was trained
            and its checkpoints are gone.
        ValueError: as `kfsl.training.train.train`, whose example shows how it is used.
    """

    def __init__(
        self, experiment: Experiment, run: RunDirectory, arguments: TrainArguments
    ) -> None:
        self._experiment = experiment
        self._learner = experiment.learner
        self._run = run
        self._arguments = arguments
        #: Whether this process writes the run: of workers that train together one does.
        self.writes = strategy.writes()
        self._claim = ClaimedRun(run, self.writes)
        self._start: InitialWeights | None = None
        try:
            self._claim.look()
            with lost_worker_told(lambda: "nothing was begun", TrainingError):
                self._construct()
                self._check_workers()
        except BaseException:
            self._claim.release()
            raise

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        if self._trained is None:
            return False
        return self._trained >= self._arguments.epochs or self._best.exhausted

    def fit(self, operative: str = "") -> dict[str, float]:
        """Trains what is left, and writes the run.

        Args:
            operative: str. The configuration that was used, kept with the run.

        Returns:
            The last epoch's logs; empty if nothing was left to train.

        Raises:
            RunDirectoryError: if another process trains, or trained, into the run directory.
            TrainingError: if the loss is no longer finite, or the disk is full. What was saved
                before is kept.
        """
        if self.done:
            self._claim.tell_end(self._checkpoint.moved_on, self._steps)
            return {}
        self._claim.take(self._checkpoint.moved_on)
        try:
            with (
                full_disk_told(self._kept, TrainingError),
                lost_worker_told(self._kept, TrainingError),
            ):
                strategy.check_alike({"configuration": zlib.crc32(operative.encode())})
                if self.writes:
                    self._begin(operative)
                self._see_base_images()
                logs = self._train(operative) if self._arguments.epochs else self._validate()
                if self.writes:
                    self._run.end(self._steps)
                return logs
        finally:
            self._claim.release()

    def _kept(self) -> str:
        return f"{self._run.path} keeps what was saved after epoch {self._checkpoint.saved}"

    # === Constructing ===

    def _construct(self) -> None:
        experiment, run, arguments = self._experiment, self._run, self._arguments
        check_same_data(
            run, experiment.dataset, "was begun on other data", "Train into another --run_dir."
        )
        arguments.check_trains(bool(self._learner.trainable_weights))
        check_classes(experiment, arguments)
        self._compile()
        self._validation = validation_episodes(experiment, arguments)
        arguments.check_validated(self._validation is not None)
        self._build()
        self._best = BestLearner(
            run.best_learner,
            monitor=experiment.learner.objective.monitor,
            larger_is_better=experiment.learner.objective.measure.larger_is_better,
            patience=arguments.patience,
            validated=self._validation is not None,
            writes=self.writes,
        )
        self._checkpoint = TrainingCheckpoint(
            run.checkpoints, self._learner, self._best, writes=self.writes
        )
        self._trained = self._checkpoint.restore()
        self._check_whole()
        if self.done:
            self._claim.release()
        elif self._trained is None and arguments.start_from is not None:
            self._start = self._initial_weights(arguments.start_from)
        if not self.done and arguments.epochs:
            check_figures(experiment, arguments)

    def _compile(self) -> None:
        learner, arguments = self._learner, self._arguments
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # It becomes the error below.
            learner.compile(
                arguments.optimizer or keras.optimizers.Adam(1e-3),
                part_optimizers=arguments.part_optimizers,
                jit_compile=arguments.jit_compile,
            )
        if arguments.jit_compile and not learner.jit_compile:
            raise ValueError(
                "train.jit_compile = True is not possible with deterministic operations; bind "
                "set_up.deterministic = False too."
            )

    def _build(self) -> None:
        # Slots before the first trace: a step that makes variables is traced twice.
        learner = self._learner
        data = first_episodes(self._experiment, self._arguments)
        strategy.on_replicas(lambda: learner.compute_loss(*data, learner(data[0])))
        learner.reset_metrics()
        self._learner.build_optimizers()

    def _check_whole(self) -> None:
        """Refuses to train anew over what was trained, because a part of it is gone."""
        run = self._run
        told = "Put it back from a copy, or train into another --run_dir"
        if self._trained is None and (run.finished or run.trained_epochs() > 1):
            raise RunDirectoryError(
                f"{run.path!r} was trained for {run.trained_epochs()} epochs and has no "
                f"checkpoint in {run.checkpoints!r} to go on from. {told}; train.start_from = "
                f"{run.path!r} begins with its best weights."
            )
        if self.done and not os.path.isfile(run.best_learner):
            raise RunDirectoryError(
                f"{run.path!r} is trained and {run.best_learner!r} is gone. {told}."
            )

    def _initial_weights(self, source: str) -> InitialWeights:
        start = copy_initial_weights(self._learner, source)
        broken = weight_not_finite(self._learner)
        if broken is not None:
            raise ValueError(
                f"The weight {broken} of {source!r} is not finite: that training diverged. Start "
                "from another run."
            )
        if self.writes:
            print(f"{len(start.copied)} weights are those of {source}, {len(start.own)} new.")
        return start

    def _check_workers(self) -> None:
        """Refuses to begin with workers that are not of one training."""
        arguments = self._arguments
        weights = (weight.numpy().tobytes() for weight in self._learner.weights)
        strategy.check_alike(
            {
                "dataset": int(self._experiment.dataset.fingerprint[:15], 16),
                "number of trained epochs": -1 if self._trained is None else self._trained,
                "train.epochs": arguments.epochs,
                "train.steps_per_epoch": arguments.steps_per_epoch,
                "train.meta_batch": arguments.meta_batch,
                "train.seed": arguments.seed,
                "learner": functools.reduce(
                    lambda known, each: zlib.crc32(each, known), weights, 0
                ),
            }
        )

    # === Training ===

    def _begin(self, operative: str) -> None:
        run = self._run
        run.reopen()
        run.write_operative(operative)
        if self._trained is None:
            run.truncate_metrics(-1)
        else:
            run.truncate_metrics(self._trained * self._arguments.steps_per_epoch)
        if self._start is not None:
            run.update_metadata(self._start.metadata)
        record_session(
            run,
            self._experiment,
            self._arguments.seed,
            from_checkpoint=self._trained is not None,
        )

    def _see_base_images(self) -> None:
        """Shows them to a learner that wants some, once; later they are in the checkpoint."""
        count = self._learner.base_images
        if self._trained is None and count:
            self._learner.see_base_images(base_images(self._experiment, count))

    def _train(self, operative: str) -> dict[str, float]:
        arguments, first_epoch = self._arguments, self._trained or 0
        history = self._learner.fit(
            training_episodes(
                self._experiment, arguments, start=first_epoch * arguments.steps_per_epoch
            ),
            steps_per_epoch=arguments.steps_per_epoch,
            initial_epoch=first_epoch,
            epochs=arguments.epochs,
            validation_data=self._validation,
            validation_freq=arguments.validation_every,
            callbacks=training_callbacks(
                self._experiment, self._run, arguments, operative, self._best, self._checkpoint
            ),
            shuffle=False,
            verbose=self._verbosity,
        )
        logs = {name: values[-1] for name, values in history.history.items()}
        last = history.epoch[-1] + 1
        if not math.isfinite(logs["loss"]) or weight_not_finite(self._learner):
            raise TrainingError(
                f"The loss or a weight is no longer finite in epoch {last}; training stopped. "
                f"{self._run.path} keeps the last good weights; lower the learning rate, and "
                "train into another --run_dir."
            )
        self._trained = last
        return logs

    @property
    def _verbosity(self) -> int:
        if not self.writes:
            return 0
        return 1 if sys.stdout.isatty() else 2

    def _validate(self) -> dict[str, float]:
        """Takes the weights that it begins with for the run's own, as if after epoch 0."""
        logs = {}
        if self._validation is not None:
            found = self._learner.evaluate(self._validation, verbose=0, return_dict=True)
            logs = {f"val_{name}": float(value) for name, value in found.items()}
        log = MetricsLog(self._run, self._arguments.steps_per_epoch)
        for callback in (*([log] if self.writes else []), self._best, self._checkpoint):
            callback.set_model(self._learner)
            callback.on_epoch_end(-1, logs)
        self._trained = 0
        return logs

    @property
    def _steps(self) -> int:
        return (self._trained or 0) * self._arguments.steps_per_epoch
