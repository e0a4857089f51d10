"""How a learner is trained: what `train` was given, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from matplotlib.figure import Figure

from kfsl.argument_checks import LARGEST_SEED, check_flag, check_whole
from kfsl.training.argument_checks import (
    check_listed,
    check_optimizer,
    check_steps,
)

#: Draws a learner's view of an episode: (learner, episode, query labels, class names).
FigureFunction = Callable[[keras.Model, dict[str, Any], Any, Sequence[str]], Figure]

#: Arguments that count something, and the smallest number each can be.
COUNTS = {
    "steps_per_epoch": 1,
    "meta_batch": 1,
    "validation_episodes": 0,
    "validation_meta_batch": 1,
    "validation_every": 1,
    "figures_every": 1,
    "histograms_every": 0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """The arguments of `kfsl.training.train.train`, which describes them.

    Raises:
        ValueError: naming the first argument of a wrong type or out of range.
    """

    optimizer: keras.optimizers.Optimizer | None
    part_optimizers: Mapping[str, keras.optimizers.Optimizer] | None
    epochs: int
    steps_per_epoch: int
    meta_batch: int
    validation_episodes: int
    validation_meta_batch: int
    validation_every: int
    patience: int | None
    seed: int
    start_from: str | None
    keep_epochs: Sequence[int]
    jit_compile: bool
    callbacks: Sequence[keras.callbacks.Callback]
    figures: Sequence[FigureFunction]
    figures_every: int
    histograms_every: int
    profile_steps: tuple[int, int] | None

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_kinds()
        if not self.validation_episodes:
            self.check_validated(False)

    def _check_counts(self) -> None:
        check_whole("train.epochs", self.epochs, 0)
        for name, least in COUNTS.items():
            check_whole(f"train.{name}", getattr(self, name), least)
        if self.validation_episodes == 1:
            raise ValueError(
                "train.validation_episodes must be 0 or at least 2, since the interval of one "
                "episode is not known; received 1."
            )
        if self.patience is not None:
            check_whole("train.patience", self.patience, 1)
        check_whole("train.seed", self.seed, -LARGEST_SEED, LARGEST_SEED)

    def _check_kinds(self) -> None:
        check_optimizer("train.optimizer", self.optimizer)
        if not isinstance(self.part_optimizers, Mapping | None):
            raise ValueError(
                "train.part_optimizers must be a dict, such as {'base': @base/Adam()}; received "
                f"{self.part_optimizers!r}."
            )
        for name, optimizer in (self.part_optimizers or {}).items():
            check_optimizer(f"train.part_optimizers[{name!r}]", optimizer)
        if self.start_from is not None and not isinstance(self.start_from, str):
            raise ValueError(
                "train.start_from must be a run directory or a .keras file, as text in quotes; "
                f"received {self.start_from!r}."
            )
        check_flag("train.jit_compile", self.jit_compile)
        check_listed(
            "train.keep_epochs",
            self.keep_epochs,
            f"epochs from 1 to train.epochs = {self.epochs}",
            lambda value: type(value) is int and 1 <= value <= self.epochs,
        )
        check_listed(
            "train.callbacks",
            self.callbacks,
            "Keras callbacks",
            lambda value: isinstance(value, keras.callbacks.Callback),
        )
        check_listed("train.figures", self.figures, "functions that draw a figure", callable)
        check_steps("train.profile_steps", self.profile_steps)

    def check_trains(self, trains: bool) -> None:
        """Refuses epochs of a learner that has nothing to train, and none of one that has.

        No epochs are a run of its own: another run's weights, in this learner, or a head on a
        network that was trained elsewhere.

        Args:
            trains: bool. Whether the learner has weights that are trained.

        Raises:
            ValueError: saying how many are expected.
        """
        if not trains and self.epochs:
            raise ValueError(
                f"train.epochs = {self.epochs}, and this learner has nothing to train: its network "
                "is frozen. Bind train.epochs = 0."
            )
        if trains and not self.start_from:
            check_whole("train.epochs", self.epochs, 1)

    def check_validated(self, validated: bool) -> None:
        """Refuses what would have no effect: patience, or a rhythm, without a validation.

        Args:
            validated: bool. Whether there are episodes to validate on.

        Raises:
            ValueError: naming the argument.
        """
        if self.patience is not None and not validated:
            raise ValueError(
                f"train.patience = {self.patience} waits for validations, and there are none: "
                "give the dataset a split 'val' and train.validation_episodes, or leave it out."
            )
        if validated and 0 < self.epochs < self.validation_every:
            raise ValueError(
                f"train.validation_every = {self.validation_every} is more than train.epochs = "
                f"{self.epochs}: nothing would be validated. Use at most {self.epochs}, or "
                "train.validation_episodes = 0."
            )

    def validation_batch(self, episodes: int) -> int:
        """How many of some episodes are validated at once: all of them are, and none twice."""
        most = min(self.validation_meta_batch, episodes)
        return next(n for n in range(most, 0, -1) if episodes % n == 0)
