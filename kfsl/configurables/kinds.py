"""Kinds of experiments, and what the commands run for each."""

import dataclasses
from collections.abc import Callable

from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.reinforcement.evaluate_policy import evaluate_policy
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.reinforcement.train_policy import train_policy
from kfsl.training.train import train

AnyExperiment = Experiment | PolicyExperiment


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the commands run for a kind of experiment.

    Args:
        commands: dict from a command's name to its function; the bindings of another command's
            function may lie unused.
        needed: tuple of str. Arguments without which there is no experiment.
    """

    commands: dict[str, Callable]
    needed: tuple[str, ...]


#: Kinds of experiments; which one a configuration is of, it says by what it binds.
KINDS: dict[type, Kind] = {
    Experiment: Kind({"train": train, "evaluate": evaluate}, ("learner", "dataset", "sampler")),
    PolicyExperiment: Kind(
        {"train": train_policy, "evaluate": evaluate_policy}, ("learner", "environment")
    ),
}
