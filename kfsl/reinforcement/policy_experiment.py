"""What all commands need to know of a run of meta-reinforcement learning."""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.argument_checks import check_made, check_number, check_whole
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.learners.base.learner import Learner
from kfsl.learners.base.task_loop import map_tasks
from kfsl.reinforcement.environment import Environment
from kfsl.reinforcement.experience import Experience, experience_of
from kfsl.reinforcement.policy_gradient import PolicyGradient
from kfsl.reinforcement.rollouts import Rollouts
from kfsl.reinforcement.trajectories import Trajectories


@dataclasses.dataclass
class PolicyExperiment:
    """A policy that adapts, the tasks it acts in, and how it learns from acting.

    Args:
        learner: `GradientLearner`, whose objective is `PolicyGradient`: MAML, CAVIA, ModGrad.
        environment: `Environment`.
        rollouts: int. Of each task, for each update.
        discount: float. Gamma.
        smoothing: float. Lambda of generalised advantage estimation.

    Attributes:
        weights: str. As in `Experiment`.

    Raises:
        ValueError: if learner and environment do not fit together, the learner adapts in a way
            that the outer step cannot follow, or a number is out of range.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.mlp import MLP
    from kfsl.learners.maml import MAML
    from kfsl.reinforcement import Navigation, PolicyExperiment, PolicyGradient

    learner = MAML(MLP((2,), hidden=(8,)), objective=PolicyGradient(2), steps=1)
    experiment = PolicyExperiment(learner, Navigation(horizon=10), rollouts=4)
    goals = np.array([[0.3, 0.1], [-0.2, 0.4]], "float32")
    before = experiment.act(experiment.start(2), goals, seed=(0, 0))
    state = experiment.adapted(experiment.start(2), experiment.experience(before))
    after = experiment.act(state, goals, seed=(0, 1))
    assert after.returns.shape == (2, 4)
    ```
    """

    learner: GradientLearner
    environment: Environment
    rollouts: int = 20
    discount: float = 0.95
    smoothing: float = 1.0
    weights: str = dataclasses.field(default="", init=False)

    def __post_init__(self) -> None:
        learner, environment = self.learner, self.environment
        check_made("PolicyExperiment.learner", learner, Learner, "a learner", "MAML")
        kind, example = "an environment", "Navigation"
        check_made("PolicyExperiment.environment", environment, Environment, kind, example)
        objective = learner.objective
        if not isinstance(objective, PolicyGradient):
            raise ValueError(
                f"A policy's objective is PolicyGradient; {type(learner).__name__} has "
                f"{type(objective).__name__}. Bind {type(learner).__name__}.objective = "
                "@PolicyGradient()."
            )
        expected = (environment.observation_size,)
        if learner.input_shape != expected or objective.actions != environment.action_size:
            raise ValueError(
                f"{environment.name} shows {environment.observation_size} numbers and takes "
                f"{environment.action_size}; the policy takes inputs of shape "
                f"{learner.input_shape} and gives {objective.actions}. Bind MLP.image_shape = "
                f"{expected} (of CAVIA, with its context's size added) and "
                f"PolicyGradient.actions = {environment.action_size}."
            )
        _check_adaptation(learner)
        check_whole("PolicyExperiment.rollouts", self.rollouts, 1)
        for name in ("discount", "smoothing"):
            check_number(f"`{name}`", getattr(self, name))
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1]; received {getattr(self, name)}.")

    @property
    def dataset(self) -> Environment:
        """Where tasks come from, with a name and a fingerprint."""
        return self.environment

    def start(self, tasks: int) -> dict[str, Any]:
        """The policy before any update, for each of some tasks."""
        return self._acting(self.rollouts).start(tasks)

    def act(
        self,
        state: dict[str, Any],
        tasks: np.ndarray,
        seed: tuple[int, int],
        rollouts: int | None = None,
    ) -> Trajectories:
        """Rolls out the policy of each task.

        Args:
            state: dict of tensors, `[B, ...]`.
            tasks: array, `[B, ...]`.
            seed: pair of ints.
            rollouts: int or None. Of each task; None: the experiment's number.

        Returns:
            `Trajectories`.
        """
        return self._acting(self.rollouts if rollouts is None else rollouts).collect(
            state, tasks, seed
        )

    def experience(self, trajectories: Trajectories) -> Experience:
        """Advantages of what was done."""
        return experience_of(trajectories, self.discount, self.smoothing)

    def adapted(
        self, state: dict[str, Any], experience: Experience, share: float = 1.0
    ) -> dict[str, Any]:
        """The policies after an update on experience that they gathered.

        Args:
            state: dict of tensors, `[B, ...]`.
            experience: `Experience`.
            share: float. How far to go, of the whole update.

        Returns:
            dict of tensors, `[B, ...]`.
        """
        given = {
            "observations": experience.observations,
            "targets": experience.weighted_targets,
            "mask": experience.mask,
        }
        given = {name: tf.constant(value) for name, value in given.items()}
        return self._update(state, given, tf.constant(share))

    @functools.cached_property
    def _rollouts(self) -> dict[int, Rollouts]:
        return {}

    def _acting(self, count: int) -> Rollouts:
        if count not in self._rollouts:
            self._rollouts[count] = Rollouts(self.learner, self.environment, count)
        return self._rollouts[count]

    @functools.cached_property
    def _update(self) -> Any:
        learner = self.learner

        def one(task: dict[str, Any]) -> dict[str, Any]:
            start = {key: task[key] for key in learner.adapted_network.keys}
            observations, targets = task["observations"], task["targets"]
            found, _ = learner.adapt_task(observations, targets, task["mask"], start=start)
            share = task["share"]
            return {key: start[key] + share * (found[key] - start[key]) for key in start}

        def update(state: dict[str, Any], given: dict[str, Any], share: Any) -> dict[str, Any]:
            shares = tf.repeat(share, tf.shape(given["mask"])[0])
            return map_tasks(one, {**state, **given, "share": shares})

        return tf.function(update, autograph=False)


def _check_adaptation(learner: GradientLearner) -> None:
    """Refuses what would part the policy that acts from the one that is differentiated."""
    name = type(learner).__name__
    if not learner.differentiates_adaptation:
        raise ValueError(
            f"{name} does not differentiate through its adaptation, as the outer step of policies "
            "does: bind MAML, CAVIA or ModGrad."
        )
    if learner.default_steps != learner.steps:
        raise ValueError(
            f"A policy acts after as many steps as it is trained by; {name} has steps="
            f"{learner.steps} and evaluation_steps={learner.evaluation_steps}. Leave "
            "evaluation_steps out; evaluate_policy.updates says how many updates are measured."
        )
    if learner.draws_at_adaptation:
        raise ValueError(
            f"A policy adapts to all that it gathered, without further draws; leave inner_batch, "
            f"augmentation and gradient_noise of {name} out."
        )
    kept = learner.network.non_trainable_variables
    if kept:
        raise ValueError(
            "A policy acts as outside training and is differentiated as in training, so its "
            "network must do the same in both; received one with the variable "
            f"{kept[0].path}, which is not trained, as a moving average or a dropout's seed. "
            "Leave its layer out."
        )
    if learner.weight_decay:
        raise ValueError(
            f"The outer step of policies is a trust region's and knows no weight decay; received "
            f"weight_decay={learner.weight_decay}. Leave it out."
        )
