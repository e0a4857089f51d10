"""What a policy returns before and after updates, on fixed tasks."""

import hashlib
import time

import numpy as np

from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.reinforcement.environment import task_generator
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.runs.environment import environment
from kfsl.runs.evaluation_record import Evaluation

#: As `kfsl.evaluation.evaluate.EVALUATION_SEED`.
EVALUATION_SEED = 12345


def evaluate_policy(
    experiment: PolicyExperiment,
    *,
    split: str = "test",
    episodes: int = 40,
    seed: int = EVALUATION_SEED,
    updates: int = 3,
    rollouts: int | None = None,
    later_share: float = 1.0,
) -> Evaluation:
    """Lets a policy act in new tasks, update itself on that, act again, and so on.

    The tasks are a pure function of seed and split, so every policy meets the same ones.

    Args:
        experiment: `PolicyExperiment`.
        split: str. Name of the stream of tasks: another gives others.
        episodes: int. Tasks, at least 2.
        seed: int.
        updates: int. How many updates.
        rollouts: int or None. Of each task, for each update and for what is reported; None: the
            experiment's number.
        later_share: float. How far updates after the first go, of the whole: MAML's authors halve
            their rate.

    Returns:
        `Evaluation` of metric `return`: each task's mean return after the first update, and
        `after_updates`.

    Raises:
        ValueError: if an argument is out of range, or a weight is not finite.

    Example:
    ```python
    from kfsl.backbones.mlp import MLP
    from kfsl.learners.maml import MAML
    from kfsl.reinforcement import Navigation, PolicyExperiment, PolicyGradient
    from kfsl.reinforcement.evaluate_policy import evaluate_policy

    learner = MAML(MLP((2,), hidden=(8,)), objective=PolicyGradient(2), steps=1)
    experiment = PolicyExperiment(learner, Navigation(horizon=10), rollouts=4)
    found = evaluate_policy(experiment, episodes=3, updates=2)
    assert found.episodes == 3 and len(found.after_updates) == 3
    ```
    """
    if episodes < 2 or updates < 1:
        raise ValueError(
            "An evaluation of a policy needs at least 2 tasks and 1 update; received "
            f"episodes={episodes}, updates={updates}."
        )
    broken = weight_not_finite(experiment.learner)
    if broken is not None:
        raise ValueError(f"The weight {broken} is not finite: training diverged.")
    started = time.monotonic()
    tasks = experiment.environment.draw_tasks(task_generator(seed, split, 0), episodes)
    count = rollouts or experiment.rollouts
    state = experiment.start(episodes)
    found = []
    for update in range(updates + 1):
        trajectories = experiment.act(state, tasks, (seed, update), count)
        found.append(trajectories.returns.mean(axis=1).tolist())
        if update < updates:
            share = 1.0 if update == 0 else later_share
            state = experiment.adapted(state, experiment.experience(trajectories), share)
    learner = experiment.learner
    return Evaluation(
        split=split,
        values=found[1],
        ways=None,
        shots=count,
        queries=count,
        seed=seed,
        dataset=experiment.environment.name,
        dataset_fingerprint=experiment.environment.fingerprint,
        episodes_fingerprint=hashlib.sha256(np.ascontiguousarray(tasks).tobytes()).hexdigest(),
        learner=type(learner).__name__,
        bn_policy=learner.bn_policy,
        transductive=learner.transductive,
        seconds=round(time.monotonic() - started, 1),
        environment=environment(),
        metric="return",
        after_updates=found,
    )
