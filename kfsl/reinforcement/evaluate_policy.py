"""What a policy returns before and after updates, on fixed tasks."""

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.class_split import SPLITS
from kfsl.argument_checks import LARGEST_SEED, check_whole
from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.reinforcement.environment import noise_seed, task_generator
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.reinforcement.trajectories import Trajectories
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
    watch: Callable[[np.ndarray, list[Trajectories]], None] | None = None,
) -> Evaluation:
    """Lets a policy act in new tasks, update itself on that, act again, and so on.

    The tasks are a pure function of seed and split, so every policy meets the same ones.

    Args:
        experiment: `PolicyExperiment`.
        split: str. `"train"`, `"val"` or `"test"`: each has tasks of its own.
        episodes: int. Tasks, at least 2.
        seed: int.
        updates: int. How many updates.
        rollouts: int or None. Of each task, for each update and for what is reported; None: the
            experiment's number.
        later_share: float. How far updates after the first go, of the whole: MAML's authors halve
            their rate.
        watch: callable or None. Called with the tasks, and what was done after 0, 1, ... updates.

    Returns:
        `Evaluation` of metric `return`: each task's mean return after the first update, and
        `after_updates`.

    Raises:
        ValueError: if an argument is out of range, or a weight, or what a policy does, is not
            finite.

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
    check_whole("evaluate_policy.episodes", episodes, 2)
    check_whole("evaluate_policy.updates", updates, 1)
    check_whole("evaluate_policy.seed", seed, -LARGEST_SEED, LARGEST_SEED)
    if rollouts is not None:
        check_whole("evaluate_policy.rollouts", rollouts, 1)
    if not 0.0 <= later_share <= 1.0:
        raise ValueError(f"evaluate_policy.later_share must lie in [0, 1]; received {later_share}.")
    broken = weight_not_finite(experiment.learner)
    if broken is not None:
        raise ValueError(f"The weight {broken} is not finite: training diverged.")
    started = time.monotonic()
    count = experiment.rollouts if rollouts is None else rollouts
    tasks, acted = acting_over_updates(
        experiment, split, episodes, updates, seed, count, later_share
    )
    check_finite(acted)
    if watch is not None:
        watch(tasks, acted)
    found = [trajectories.returns.mean(axis=1).tolist() for trajectories in acted]
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
        later_share=later_share,
    )


def acting_over_updates(
    experiment: PolicyExperiment,
    split: str,
    count: int,
    updates: int,
    seed: int = EVALUATION_SEED,
    rollouts: int | None = None,
    later_share: float = 1.0,
) -> tuple[np.ndarray, list[Trajectories]]:
    """Lets a policy act in the first tasks of a split, update itself on that, and act again.

    Args:
        experiment: `PolicyExperiment`.
        split: str. `"train"`, `"val"` or `"test"`.
        count: int. Tasks.
        updates: int.
        seed: int.
        rollouts: int or None. Of each task; None: the experiment's number.
        later_share: float. As in `evaluate_policy`.

    Returns:
        The tasks, and what was done after 0, 1, ... updates.

    Raises:
        ValueError: for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"Policies have tasks of {', '.join(SPLITS)}; received split={split!r}.")
    tasks = experiment.environment.draw_tasks(task_generator(seed, split, 0), count)
    state, acted = experiment.start(count), []
    for update in range(updates + 1):
        acted.append(experiment.act(state, tasks, noise_seed(seed, split, update), rollouts))
        if update < updates:
            share = 1.0 if update == 0 else later_share
            state = experiment.adapted(state, experiment.experience(acted[-1]), share)
    return tasks, acted


def check_finite(acted: Sequence[Trajectories]) -> None:
    """Refuses what is told of policies that diverged as they were updated.

    Finite weights do not tell: a rate that is too large makes them overflow in an update.

    Args:
        acted: sequence of `Trajectories`, after 0, 1, ... updates.

    Raises:
        ValueError: naming the first number of updates after which something is not finite.
    """
    for number, found in enumerate(acted):
        if not found.finite:
            fewer = ", or bind fewer evaluate_policy.updates" if number > 1 else ""
            raise ValueError(
                f"What the policy does after {number} updates is not finite: it diverged. Lower "
                f"the learner's inner_rate{fewer}."
            )
