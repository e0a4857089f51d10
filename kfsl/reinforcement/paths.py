"""Where an agent went in the plane, before and after updates."""

import numpy as np

from data_pipelines.class_split import SPLITS
from kfsl.reinforcement.environment import noise_seed, task_generator
from kfsl.reinforcement.evaluate_policy import EVALUATION_SEED
from kfsl.reinforcement.policy_experiment import PolicyExperiment


def paths_over_updates(
    experiment: PolicyExperiment,
    split: str = "test",
    tasks: int = 3,
    updates: int = 2,
    seed: int = EVALUATION_SEED,
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Rolls out in the first tasks of an evaluation.

    Args:
        experiment: `PolicyExperiment`, in `Navigation`.
        split: str.
        tasks: int. How many.
        updates: int.
        seed: int.

    Returns:
        Goals `[B, 2]`; and for 0, 1, ... updates places `[B, R, T, 2]`, masks `[B, R, T]` and
        mean returns `[B]`.

    Raises:
        ValueError: for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"Policies have tasks of {', '.join(SPLITS)}; received split={split!r}.")
    goals = experiment.environment.draw_tasks(task_generator(seed, split, 0), tasks)
    state = experiment.start(tasks)
    places, masks, returns = [], [], []
    for update in range(updates + 1):
        found = experiment.act(state, goals, noise_seed(seed, split, update))
        places.append(found.observations)
        masks.append(found.mask)
        returns.append(found.returns.mean(axis=1))
        if update < updates:
            state = experiment.adapted(state, experiment.experience(found))
    return goals, places, masks, returns
