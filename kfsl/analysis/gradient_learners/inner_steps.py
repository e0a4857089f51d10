"""How what is measured, and the support loss, develop over the steps of the inner loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import gradient_learners
from kfsl.analysis.request import CLASSES, NUMBERS, AnalysisRequest
from kfsl.episodes import SUPPORT_MASK
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.figures.curves import COLORS, draw_curves, level_figure, run_names
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.gradient_learner import GradientLearner

#: Episodes, unless their number is given: each is adapted to once for each number of steps.
EPISODES = 200
#: Learners are measured after so many numbers of steps at most, unless they are named.
MOST_LEVELS = 11
#: Steps that are looked at even of learners that take fewer: the ModGrad paper's table 4.
LEAST_STEPS = 5


def step_numbers(levels: Sequence[float]) -> list[int]:
    """Levels as numbers of steps, in rising order.

    Args:
        levels: sequence of float.

    Returns:
        list of int.

    Raises:
        ValueError: for numbers of steps that are none.

    Example:
    ```python
    from kfsl.analysis.gradient_learners.inner_steps import step_numbers

    assert step_numbers([5.0, 0.0, 1.0]) == [0, 1, 5]
    ```
    """
    for level in levels:
        if not (float(level).is_integer() and level >= 0):
            raise ValueError(f"A number of inner steps is an integer from 0; received {level:g}.")
    return sorted({int(level) for level in levels})


def default_steps(learners: Sequence[GradientLearner]) -> list[int]:
    """From 0 to the most steps that a learner takes at test, spread where there are many."""
    own = [learner.default_steps for learner in learners]
    spread = np.linspace(0, max([LEAST_STEPS, *own]), MOST_LEVELS)
    return sorted({round(step) for step in spread})


def measured_over_steps(
    experiment: Experiment,
    learner: GradientLearner,
    steps: Sequence[int],
    *,
    split: str,
    episodes: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Adapts a learner to each episode by several numbers of steps.

    Args:
        experiment: `Experiment`, whose episodes count.
        learner: `GradientLearner`.
        steps: sequence of int, in rising order.
        split: str.
        episodes: int. Episodes `0..episodes - 1`, as an evaluation meets them.
        seed: int. Seed of the stream of episodes.

    Returns:
        What the learner's metric says, `[episodes, len(steps)]`, and the support set's losses
        after 0, 1, ... steps, `[episodes, steps[-1] + 1]`; with `inner_batch`, of the next step's
        images.
    """
    import tensorflow as tf
    import tqdm

    from data_pipelines import pipeline

    stream = pipeline.episodes(
        experiment.dataset, split, experiment.evaluation_sampler, seed=seed, count=episodes
    )
    adapted = compiled_adaptation(learner)
    measured, losses = [], []
    title = f"{type(learner).__name__}, {split}"
    for number, (episode, query_labels) in enumerate(
        tqdm.tqdm(stream, total=episodes, desc=title, unit="ep", disable=None)
    ):
        of_episode = tf.constant([seed, number], tf.int64)
        outputs = [adapted(episode, of_episode, tf.constant(step))[0] for step in steps]
        targets = query_labels.numpy()[0]
        measured.append([learner.objective.scores(targets, each.numpy()) for each in outputs])
        # Each loss is that before a step: one step more shows the loss after the last.
        losses.append(adapted(episode, of_episode, tf.constant(steps[-1] + 1))[1].numpy())
    return np.array(measured), np.array(losses, "float64")


def compiled_adaptation(learner: GradientLearner) -> Callable:
    """A compiled function that adapts to one episode by any number of steps.

    Args:
        learner: `GradientLearner`.

    Returns:
        `(episode with B = 1, seed, steps) -> (outputs [Q, width], losses before each step)`;
        seed int64 `[2]` and steps int32 are tensors.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def adapted(episode: dict[str, Any], seed: Any, steps: Any) -> tuple[Any, Any]:
        support, query = learner.embed_episode(episode, training=False)
        mask = episode.get(SUPPORT_MASK)
        state, losses = learner.adapt_task(
            support[0],
            episode[learner.objective.support_targets][0],
            None if mask is None else mask[0],
            seed,
            steps=steps,
        )
        batched = {name: tensor[None] for name, tensor in state.items()}
        return learner.infer(batched, query)[learner.objective.output][0], losses

    return adapted


def steps_values(
    experiment: Experiment,
    learners: Mapping[str, GradientLearner],
    steps: Sequence[int],
    **arguments: Any,
) -> dict[str, Any]:
    """The numbers in the figure, as JSON can hold them.

    Args:
        experiment: `Experiment`, whose episodes all learners meet.
        learners: dict, runs' paths to `GradientLearner`.
        steps: sequence of int, in rising order.
        **arguments: `split`, `episodes` and `seed` of `measured_over_steps`.

    Returns:
        dict. `metric`, what is measured; for each run that, such as `accuracy`, and `interval`
        (half of the 95 % interval) by number of steps, `support_loss` after 0, 1, ... steps, and
        for all but the first `against_first`, the paired difference to the first run after as
        many steps.
    """
    runs: dict[str, Any] = {}
    first: Any = None
    metric = experiment.learner.objective.measure.name
    for path, learner in learners.items():
        measured, losses = measured_over_steps(experiment, learner, steps, **arguments)
        runs[path] = {
            "learner": type(learner).__name__,
            "bn_policy": learner.bn_policy,
            "steps_in_training": learner.steps,
            **_means(measured, metric),
            "support_loss": losses.mean(axis=0).tolist(),
        }
        if first is None:
            first = measured
        else:
            runs[path]["against_first"] = _means(measured - first, "mean")
    return {"metric": metric, "steps": list(steps), **arguments, "runs": runs}


def steps_figure(values: Mapping[str, Any]) -> Figure:
    """Draws what is measured over inner steps, and the support loss in a panel of its own.

    Args:
        values: dict, from `steps_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, table 4.

    Example:
    ```python
    from kfsl.analysis.gradient_learners.inner_steps import steps_figure

    run = {"accuracy": [0.2, 0.5], "interval": [0.01, 0.02], "support_loss": [1.6, 0.7]}
    values = {"metric": "accuracy", "steps": [0, 1], "split": "test", "episodes": 600,
              "runs": {"runs/maml": run}}
    assert len(steps_figure(values).axes) == 2
    ```
    """
    steps, names = values["steps"], run_names(list(values["runs"]))
    metric = values["metric"]
    figure, (left, right) = level_figure(steps, "inner steps", panels=2, metric=metric)
    curves = [(run[metric], run["interval"]) for run in values["runs"].values()]
    draw_curves(left, steps, curves, names)
    left.set_title(f"{values['split']}, {values['episodes']} episodes", fontsize=9)
    for i, run in enumerate(values["runs"].values()):
        losses = run["support_loss"]
        right.plot(range(len(losses)), losses, color=COLORS[i % len(COLORS)], linewidth=1.6)
    right.set_xlabel("inner steps")
    right.set_ylabel("support loss")
    right.grid(alpha=0.3)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def _means(values: np.ndarray, name: str) -> dict[str, list[float]]:
    """Over episodes, with half of their 95 % intervals."""
    columns = values.T
    return {
        name: [float(np.mean(column)) for column in columns],
        "interval": [half_interval(column) for column in columns],
    }


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    levels: tuple[float, ...] = (),
    episodes: int = EPISODES,
) -> Analysis:
    """What is measured, and the support loss, after 0, 1, ... inner steps, on the same episodes.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which classes.
        levels: tuple of float. Numbers of steps; empty leaves them to the analysis.
        episodes: int. How many.

    Returns:
        `Analysis`.
    """
    steps = step_numbers(levels)
    experiment, learners = gradient_learners(request, compare, split, CLASSES, NUMBERS)
    values = steps_values(
        experiment,
        learners,
        steps or default_steps(list(learners.values())),
        split=split,
        episodes=episodes,
        seed=EVALUATION_SEED,
    )
    return Analysis(f"inner_steps_{split}", steps_figure(values), values)
