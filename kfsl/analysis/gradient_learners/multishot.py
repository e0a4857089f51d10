"""How learners learn a task with many images: loss and accuracy over a long inner loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import gradient_learners
from kfsl.analysis.gradient_learners.inner_steps import measured_over_steps, step_numbers
from kfsl.analysis.request import AnalysisRequest
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.figures.curves import draw_curves, run_names
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.gradient_learner import GradientLearner

#: Draws of each alphabet, unless the number of episodes is given.
DRAWS = 3
#: Shares of the inner loop after which accuracy is taken: each is an adaptation of its own.
SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def default_levels(learners: Sequence[GradientLearner]) -> list[int]:
    """Numbers of steps from 0 to the most that a learner takes at test."""
    most = max(learner.default_steps for learner in learners)
    return sorted({round(share * most) for share in SHARES})


def task_names(experiment: Experiment, split: str, episodes: int, seed: int) -> list[str]:
    """The superclass of each episode, of which all its queries are.

    Args:
        experiment: `Experiment`.
        split: str.
        episodes: int. Episodes `0..episodes - 1`.
        seed: int. Seed of the stream of episodes.

    Returns:
        list of str, `episodes` names.

    Raises:
        ValueError: if the classes of an episode are of several superclasses.
    """
    import tensorflow as tf

    classes = experiment.dataset.split(split)

    def class_ids(number: tf.Tensor) -> tf.Tensor:
        return experiment.evaluation_sampler(classes, seed, number)["query_class_ids"]

    names = []
    for ids in tf.data.Dataset.range(episodes).map(class_ids):
        found = {classes.superclass_names[number] for number in classes.superclasses[ids.numpy()]}
        if len(found) > 1:
            raise ValueError(
                "A task of this analysis is an alphabet, and an episode of this run has classes of "
                f"{' and '.join(sorted(found)[:2])}. Bind a sampler that draws such tasks: "
                "Experiment.evaluation_sampler = @alphabet_episode."
            )
        names += found
    return names


def multishot_values(
    experiment: Experiment,
    learners: Mapping[str, GradientLearner],
    steps: Sequence[int],
    *,
    split: str,
    seed: int,
    episodes: int | None = None,
) -> dict[str, Any]:
    """The numbers in the figure, as JSON can hold them.

    Episodes of one alphabet are draws of one task: means and intervals are over alphabets, of
    the mean over each one's draws.

    Args:
        experiment: `Experiment`, whose episodes all learners meet.
        learners: dict, runs' paths to `GradientLearner`.
        steps: sequence of int, in rising order. Numbers of steps after which to classify.
        split: str.
        seed: int. Seed of the stream of episodes.
        episodes: int or None. `DRAWS` for each superclass of the split when None.

    Returns:
        dict. `tasks`, the alphabets; for each run `accuracy` and `interval` (half of the 95 %
        interval) by number of steps, `training_loss` before each step and its `loss_interval`,
        `final_accuracy`, `final_interval`, `final_accuracy_of` each alphabet, and
        `area_under_loss` with `area_interval`: the mean of the losses before each of the steps.
    """
    if episodes is None:
        episodes = DRAWS * experiment.dataset.split(split).num_superclasses
    names = task_names(experiment, split, episodes, seed)
    tasks = sorted(set(names))
    runs = {}
    for path, learner in learners.items():
        found = measured_over_steps(
            experiment, learner, steps, split=split, episodes=episodes, seed=seed
        )
        accuracies, losses = (_by_task(values, names, tasks) for values in found)
        runs[path] = {
            "learner": type(learner).__name__,
            "bn_policy": learner.bn_policy,
            "steps_in_training": learner.steps,
            **_run_values(accuracies, losses[:, : max(steps[-1], 1)], tasks),
        }
    sizes = {"split": split, "episodes": episodes, "seed": seed}
    return {"steps": list(steps), "tasks": tasks, **sizes, "runs": runs}


def multishot_figure(values: Mapping[str, Any]) -> Figure:
    """Draws the training loss and the held-out accuracy over inner steps, side by side.

    Args:
        values: dict, from `multishot_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 5.

    Example:
    ```python
    from kfsl.analysis.gradient_learners.multishot import multishot_figure

    run = {
        "accuracy": [0.05, 0.7], "interval": [0.01, 0.02],
        "training_loss": [3.0, 1.0], "loss_interval": [0.1, 0.1],
    }
    values = {"steps": [0, 2], "tasks": ["Greek"], "split": "test", "runs": {"runs/reptile": run}}
    assert len(multishot_figure(values).axes) == 2
    ```
    """
    runs = values["runs"].values()
    names = run_names(list(values["runs"]))
    figure = Figure(figsize=(11.4, 4.0), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(run["training_loss"], run["loss_interval"]) for run in runs]
    draw_curves(left, range(len(losses[0][0])), losses, names)
    for line in left.lines:
        line.set_marker("")
    left.set_ylabel("training loss")
    draw_curves(right, values["steps"], [(r["accuracy"], r["interval"]) for r in runs], names)
    right.set_ylabel("accuracy on held-out images")
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    right.set_title(f"{values['split']}, {len(values['tasks'])} tasks", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("inner steps")
    return figure


def _by_task(values: np.ndarray, names: Sequence[str], tasks: Sequence[str]) -> np.ndarray:
    """Means over the episodes of each task: `[episodes, n]` to `[tasks, n]`."""
    which = np.array(names)
    return np.stack([values[which == task].mean(axis=0) for task in tasks])


def _run_values(accuracies: np.ndarray, losses: np.ndarray, tasks: Sequence[str]) -> dict[str, Any]:
    areas, final = losses.mean(axis=1), accuracies[:, -1]
    return {
        "accuracy": accuracies.mean(axis=0).tolist(),
        "interval": _intervals(accuracies),
        "training_loss": losses.mean(axis=0).tolist(),
        "loss_interval": _intervals(losses),
        "final_accuracy": float(final.mean()),
        "final_interval": half_interval(final),
        "final_accuracy_of": dict(zip(tasks, final.tolist(), strict=True)),
        "area_under_loss": float(areas.mean()),
        "area_interval": half_interval(areas),
    }


def _intervals(values: np.ndarray) -> list[float]:
    return [half_interval(column) for column in values.T]


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    levels: tuple[float, ...] = (),
    episodes: int | None = None,
) -> Analysis:
    """Loss and held-out accuracy over a long inner loop, over the alphabets of a split.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which alphabets.
        levels: tuple of float. Numbers of steps; empty leaves them to the analysis.
        episodes: int or None. `DRAWS` an alphabet when None.

    Returns:
        `Analysis`.
    """
    steps = step_numbers(levels)
    experiment, learners = gradient_learners(request, compare, split)
    values = multishot_values(
        experiment,
        learners,
        steps or default_levels(list(learners.values())),
        split=split,
        episodes=episodes,
        seed=EVALUATION_SEED,
    )
    return Analysis(f"multishot_{split}", multishot_figure(values), values)
