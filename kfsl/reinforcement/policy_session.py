"""The meta-training of a policy that is constructed, and then begins or goes on."""

from __future__ import annotations

import itertools
import math
import os
import time
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from kfsl.figures.navigation import navigation_figure
from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.reinforcement.environment import noise_seed, task_generator
from kfsl.reinforcement.evaluate_policy import acting_over_updates, evaluate_policy
from kfsl.reinforcement.meta_policy import MetaPolicy
from kfsl.reinforcement.navigation import Navigation
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory, RunDirectoryError
from kfsl.training.callbacks.best_learner import BestLearner
from kfsl.training.callbacks.figure_summary import FigureSummary
from kfsl.training.callbacks.metrics_log import MetricsLog
from kfsl.training.callbacks.run_summary import RunSummary
from kfsl.training.callbacks.training_checkpoint import TrainingCheckpoint
from kfsl.training.claimed_run import ClaimedRun
from kfsl.training.disk_space import full_disk_told
from kfsl.training.session_record import record_session
from kfsl.training.training_callbacks import parameters_of
from kfsl.training.training_session import TrainingError

if TYPE_CHECKING:
    from kfsl.reinforcement.train_policy import PolicyArguments

#: Iterations between two printed lines.
TOLD_EVERY = 10


class PolicySession:
    """One call's share of a run: all of it, or what an interrupted call left to do.

    Constructed, the learner is restored; nothing is written.

    Args:
        experiment: `PolicyExperiment`.
        run: `RunDirectory`.
        arguments: `PolicyArguments`.

    Raises:
        RunDirectoryError: if another process trains into the run directory, or it was trained
            and its checkpoints are gone.
        ValueError: as `train_policy`, whose example shows how it is used.
    """

    #: Whether this process writes the run.
    writes = True

    def __init__(
        self, experiment: PolicyExperiment, run: RunDirectory, arguments: PolicyArguments
    ) -> None:
        if tf.distribute.has_strategy():
            raise ValueError(
                "Policies train on one device: leave set_up.strategy out. Several runs, such as "
                "seeds, can train beside each other."
            )
        self._experiment, self._run, self._arguments = experiment, run, arguments
        self._learner = experiment.learner
        self._claim = ClaimedRun(run)
        try:
            self._claim.look()
            self._construct()
        except BaseException:
            self._claim.release()
            raise

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return self._trained >= self._arguments.iterations

    def fit(self, operative: str = "") -> dict[str, float]:
        """Trains what is left, and writes the run.

        Args:
            operative: str. The configuration that was used, kept with the run.

        Returns:
            The last iteration's logs; empty if nothing was left to train.

        Raises:
            RunDirectoryError: if another process trains, or trained, into the run directory.
            TrainingError: if a weight, or what the policy does in validation, is no longer finite,
                or the disk is full. What was saved before is kept.
        """
        if self.done:
            self._claim.tell_end(self._checkpoint.moved_on, self._trained)
            return {}
        self._claim.take(self._checkpoint.moved_on)
        try:
            with full_disk_told(self._kept, TrainingError):
                self._begin(operative)
                logs: dict[str, float] = {}
                for number in range(self._trained, self._arguments.iterations):
                    logs = self._iterate(number)
                    self._record(number, logs)
                self._run.end(self._trained)
                return logs
        finally:
            self._claim.release()

    def _kept(self) -> str:
        return f"{self._run.path} keeps what was saved after iteration {self._checkpoint.saved}"

    # === Constructing ===

    def _construct(self) -> None:
        run, learner = self._run, self._learner
        known = run.metadata.get("dataset_fingerprint")
        if known not in (None, self._experiment.environment.fingerprint):
            raise ValueError(
                f"{run.path} was begun in another environment than {self._experiment.environment}. "
                "Train into another --run_dir."
            )
        # The outer step is a trust region's; checkpoints ask for an optimiser.
        learner.compile(keras.optimizers.SGD(0.0))
        learner.build_optimizers()
        self._meta_policy = MetaPolicy(learner)
        self._best = BestLearner(run.best_learner, monitor="val_return")
        self._checkpoint = TrainingCheckpoint(run.checkpoints, learner, self._best)
        self._trained = self._checkpoint.restore() or 0
        begun = run.trained_epochs() > self._arguments.checkpoint_every
        gone = not self._trained and (run.finished or begun)
        if gone or (self._trained and not os.path.isfile(run.best_learner)):
            raise RunDirectoryError(
                f"{run.path!r} was trained and its checkpoint or best policy is gone. Put it back "
                "from a copy, or train into another --run_dir."
            )
        if self.done:
            self._claim.release()

    # === Training ===

    def _begin(self, operative: str) -> None:
        run, arguments = self._run, self._arguments
        run.reopen()
        run.write_operative(operative)
        run.truncate_metrics(self._trained)
        record_session(run, self._experiment, arguments.seed, from_checkpoint=bool(self._trained))
        self._writer = tf.summary.create_file_writer(os.path.join(run.tensorboard, "train"))
        self._log = MetricsLog(run, 1)
        callbacks = [self._log, self._best, self._checkpoint, *self._figures()]
        for callback in callbacks:
            callback.set_model(self._learner)
        directory = os.path.join(run.tensorboard, "train")
        RunSummary(directory, operative, parameters_of(operative)).on_train_begin()

    def _figures(self) -> list[FigureSummary]:
        """What is seen of an environment in the plane."""
        self._pictures: list[FigureSummary] = []
        environment = self._experiment.environment
        if isinstance(environment, Navigation):
            directory = os.path.join(self._run.tensorboard, "validation")

            def draw(learner: keras.Model) -> Any:
                del learner
                return _paths(self._experiment, self._arguments.seed)

            self._pictures.append(FigureSummary(directory, "navigation", draw, every=1))
        return self._pictures

    def _iterate(self, number: int) -> dict[str, float]:
        """Acts, adapts, acts again, and moves all weights."""
        started = time.perf_counter()
        experiment, arguments = self._experiment, self._arguments
        generator = task_generator(arguments.seed, "train", number)
        tasks = experiment.environment.draw_tasks(generator, arguments.tasks)
        start = experiment.start(arguments.tasks)
        seeds = [noise_seed(arguments.seed, "train", 2 * number + i) for i in (0, 1)]
        before = experiment.act(start, tasks, seeds[0])
        learnt_from = experiment.experience(before)
        state = experiment.adapted(start, learnt_from)
        after = experiment.act(state, tasks, seeds[1])
        judged_by = experiment.experience(after)
        self._meta_policy.see(learnt_from, judged_by)
        report = arguments.trust_region.step(self._meta_policy)
        if not math.isfinite(report.gradient_norm) or weight_not_finite(self._learner):
            raise TrainingError(
                f"A gradient or a weight is no longer finite in iteration {number + 1}; training "
                f"stopped. {self._run.path} keeps what was saved; lower the inner rate, and train "
                "into another --run_dir."
            )
        return {
            "return_before": float(before.returns.mean()),
            "return": float(after.returns.mean()),
            "improvement": report.improvement,
            "divergence": report.divergence,
            "gradient_norm": report.gradient_norm,
            "refused": float(report.halvings is None),
            "seconds": time.perf_counter() - started,
        }

    def _record(self, number: int, logs: dict[str, float]) -> None:
        arguments, last = self._arguments, number + 1 == self._arguments.iterations
        validated = (number + 1) % arguments.validation_every == 0 or last
        if validated:
            started = time.perf_counter()
            logs |= self._validated()
            logs["validation_seconds"] = time.perf_counter() - started
        with self._writer.as_default(step=number + 1):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
        self._log.on_epoch_end(number, logs)
        if validated:
            self._best.on_epoch_end(number, logs)
            for picture in self._pictures:
                picture.on_epoch_end(number)
        if (number + 1) % arguments.checkpoint_every == 0 or validated:
            if not os.path.isfile(self._run.best_learner):
                self._best.on_epoch_end(number, {})
            self._checkpoint.on_epoch_end(number)
        self._trained = number + 1
        if validated or (number + 1) % TOLD_EVERY == 0:
            print(_line(number + 1, arguments.iterations, logs), flush=True)

    def _validated(self) -> dict[str, float]:
        arguments = self._arguments
        try:
            found = evaluate_policy(
                self._experiment,
                split="val",
                episodes=arguments.validation_tasks,
                seed=arguments.seed,
                updates=1,
            )
        except ValueError as error:
            raise TrainingError(
                f"In validation: {error} Training stopped; {self._kept()}. Train into another "
                "--run_dir."
            ) from error
        before = found.after_updates[0]
        return {
            "val_return": found.mean,
            "val_return_interval": half_interval(found.values),
            "val_return_before": sum(before) / len(before),
        }


def _paths(experiment: PolicyExperiment, seed: int) -> Any:
    """A picture of validation tasks, up to the update at which the policy diverges, if one does."""
    goals, acted = acting_over_updates(experiment, "val", 3, updates=2, seed=seed)
    whole = list(itertools.takewhile(lambda trajectories: trajectories.finite, acted))
    return navigation_figure(goals, whole or acted[:1])


def _line(number: int, iterations: int, logs: dict[str, float]) -> str:
    told = (
        f"Iteration {number}/{iterations}: return {logs['return_before']:.2f} -> "
        f"{logs['return']:.2f}, divergence {logs['divergence']:.4f}"
    )
    if logs["refused"]:
        told += ", step refused"
    if "val_return" in logs:
        told += f", validation {logs['val_return_before']:.2f} -> {logs['val_return']:.2f}"
    return told
