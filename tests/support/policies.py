"""Small policies, and experiments with them."""

import keras
import numpy as np

from kfsl.backbones.mlp import MLP
from kfsl.learners import CAVIA, MAML, ModGrad
from kfsl.reinforcement import Navigation, PolicyExperiment, PolicyGradient
from kfsl.reinforcement.experience import Experience, experience_of
from kfsl.reinforcement.rollouts import Rollouts

KINDS = ("maml", "cavia", "modgrad")


def policy(kind: str = "maml", activation: str = "tanh", **arguments):
    """A learner whose objective is a policy of two numbers."""
    keras.utils.set_random_seed(0)
    backbone = MLP((5 if kind == "cavia" else 2,), hidden=(6, 5), activation=activation)
    arguments = {"objective": PolicyGradient(2), "steps": 1, **arguments}
    if kind == "maml":
        return MAML(backbone, **{"inner_rate": 0.3, **arguments})
    if kind == "cavia":
        return CAVIA(backbone, modulated=None, context_size=3, **arguments)
    return ModGrad(
        backbone, adapted=("hidden2",), context_size=4, columns=2, initial_factor=1.0, **arguments
    )


def experiment(kind: str = "maml", horizon: int = 6, rollouts: int = 3, **arguments):
    return PolicyExperiment(policy(kind, **arguments), Navigation(horizon=horizon), rollouts)


def two_experiences(learner, tasks: int = 2) -> tuple[Experience, Experience]:
    """What the policy gathered before and after an update, with noise of its own.

    Of 3 rollouts each, of 8 steps or fewer: some of the first task end early.
    """
    found = PolicyExperiment(learner, Navigation(horizon=8, near=0.2), 3)
    goals = found.environment.draw_tasks(np.random.default_rng(0), tasks)
    acting = Rollouts(learner, found.environment, 3)
    before = experience_of(acting.collect(acting.start(tasks), goals, (0, 0)))
    state = found.adapted(acting.start(tasks), before)
    return before, experience_of(acting.collect(state, goals, (0, 1)))
