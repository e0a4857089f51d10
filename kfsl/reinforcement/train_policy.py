"""The training call of policies: what gin binds as `train_policy`."""

import dataclasses

from kfsl.argument_checks import LARGEST_SEED, check_whole
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.reinforcement.policy_session import PolicySession
from kfsl.reinforcement.trust_region import TrustRegion
from kfsl.runs.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyArguments:
    """The arguments of `train_policy`, which describes them.

    Raises:
        ValueError: naming the first argument of a wrong type or out of range.
    """

    iterations: int
    tasks: int
    trust_region: TrustRegion
    validation_every: int
    validation_tasks: int
    checkpoint_every: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("iterations", "tasks", "validation_every", "checkpoint_every"):
            check_whole(f"train_policy.{name}", getattr(self, name), 1)
        check_whole("train_policy.validation_tasks", self.validation_tasks, 2)
        check_whole("train_policy.seed", self.seed, 0, LARGEST_SEED)
        if not isinstance(self.trust_region, TrustRegion):
            raise ValueError(
                "train_policy.trust_region must be a TrustRegion, such as @TrustRegion(); "
                f"received {self.trust_region!r}."
            )


def train_policy(
    experiment: PolicyExperiment,
    run: RunDirectory,
    *,
    iterations: int = 500,
    tasks: int = 20,
    trust_region: TrustRegion | None = None,
    validation_every: int = 25,
    validation_tasks: int = 20,
    checkpoint_every: int = 5,
    seed: int = 0,
) -> PolicySession:
    """Constructs the meta-training of a policy; `fit` of what it returns trains.

    In each iteration the policy acts in some tasks, adapts to each by an update, and acts again;
    then all weights move, by a step of trust region policy optimisation through the update. Tasks
    and noise are pure functions of seed and iteration, and every variable is in the checkpoint, so
    a run that was killed ends with the bits of one that was not.

    Args:
        experiment: `PolicyExperiment`.
        run: `RunDirectory`.
        iterations: int. Outer updates.
        tasks: int. Tasks of each.
        trust_region: `TrustRegion` or None, for its defaults.
        validation_every: int. Iterations between two validations; the policy that returned most
            after one update is kept as the best one.
        validation_tasks: int. Fixed tasks to validate on.
        checkpoint_every: int. Iterations between two checkpoints.
        seed: int. Which tasks and noise training draws.

    Returns:
        `PolicySession`.

    Raises:
        ValueError: if an argument is out of range, or the run was begun in another environment.
        RunDirectoryError: as `kfsl.training.train.train`.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), algorithm 3.

    Example:
    ```python
    import tempfile
    from kfsl.backbones.mlp import MLP
    from kfsl.learners.maml import MAML
    from kfsl.reinforcement import Navigation, PolicyExperiment, PolicyGradient
    from kfsl.reinforcement.train_policy import train_policy
    from kfsl.runs.run_directory import RunDirectory

    learner = MAML(MLP((2,), hidden=(8,)), objective=PolicyGradient(2), steps=1)
    experiment = PolicyExperiment(learner, Navigation(horizon=10), rollouts=4)
    with tempfile.TemporaryDirectory() as folder:
        session = train_policy(
            experiment, RunDirectory(f"{folder}/run"), iterations=1, tasks=2, validation_tasks=2
        )
        logs = session.fit()
        assert session.done and logs["divergence"] <= 0.01
    ```
    """
    arguments = PolicyArguments(
        iterations=iterations,
        tasks=tasks,
        trust_region=trust_region or TrustRegion(),
        validation_every=validation_every,
        validation_tasks=validation_tasks,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    return PolicySession(experiment, run, arguments)
