"""What noise on the inner gradients costs gradient-based learners."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from kfsl import configurables
from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compiling_often, gradient_learners, with_settings
from kfsl.analysis.request import CLASSES, NUMBERS, AnalysisRequest
from kfsl.evaluation.evaluate import evaluate
from kfsl.figures.curves import draw_curves, level_figure, run_names
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import paired_difference
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.gradient_learner import GradientLearner

#: The levels eta of the ModGrad paper's figure 9 are not printed; these span its effect.
LEVELS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
#: What a level is: the noise's standard deviation, or its variance.
SCALES = ("std", "variance")


def standard_deviations(levels: Sequence[float], scale: str) -> list[float]:
    """The standard deviation of the noise at each level.

    Args:
        levels: sequence of float, at least 0.
        scale: str. `"std"`: a level is the standard deviation, as in ModGrad's published code;
            `"variance"`: the paper's covariance, `eta * I`.

    Returns:
        list of float.

    Raises:
        ValueError: for negative or infinite levels, or an unknown scale.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, section 5.4.

    Example:
    ```python
    from kfsl.analysis.gradient_learners.noise import standard_deviations

    assert standard_deviations([0.0, 0.25], "std") == [0.0, 0.25]
    assert standard_deviations([0.0, 0.25], "variance") == [0.0, 0.5]
    ```
    """
    if scale not in SCALES:
        raise ValueError(f"The scale of noise is one of {SCALES}; received {scale!r}.")
    for level in levels:
        if not (math.isfinite(level) and level >= 0):
            raise ValueError(f"A level of noise is a number of at least 0; received {level:g}.")
    return [math.sqrt(level) if scale == "variance" else float(level) for level in levels]


def noisy_evaluations(
    experiment: Experiment,
    learners: Mapping[str, GradientLearner],
    deviations: Sequence[float],
    evaluate: Callable[..., Evaluation],
    **arguments: Any,
) -> dict[str, list[Evaluation]]:
    """Evaluates learners under noise, all on the same episodes.

    The noise of an episode depends on the episode's number alone, so that learners whose
    tensors have the same shapes meet the same noise, and levels differ by a factor.

    Args:
        experiment: `Experiment`, whose episodes count.
        learners: dict, names to `GradientLearner`.
        deviations: sequence of float. Standard deviations of the noise.
        evaluate: callable, `kfsl.evaluation.evaluate.evaluate` or it with bindings.
        **arguments: for `evaluate`.

    Returns:
        dict from names to an `Evaluation` for each deviation.
    """

    def evaluated(learner: GradientLearner, deviation: float) -> Evaluation:
        noisy = with_settings(learner, gradient_noise=deviation)
        return evaluate(dataclasses.replace(experiment, learner=noisy), **arguments)

    with compiling_often():
        return {
            name: [evaluated(learner, deviation) for deviation in deviations]
            for name, learner in learners.items()
        }


def noise_values(
    evaluations: Mapping[str, Sequence[Evaluation]], levels: Sequence[float], scale: str
) -> dict[str, Any]:
    """The numbers in the figure, as JSON can hold them.

    Args:
        evaluations: dict, from `noisy_evaluations`.
        levels: sequence of float.
        scale: str. What the levels are.

    Returns:
        dict. `metric`, what is measured; for each run that, such as `accuracy`, and `interval`
        (half of the 95 % interval) by level, `change`, the paired difference to the first level,
        and for all but the first run `against_first`, the paired difference to the first run at
        the same level.
    """
    first = next(iter(evaluations.values()))
    runs = {}
    for i, (path, found) in enumerate(evaluations.items()):
        runs[path] = {
            "learner": found[0].learner,
            "bn_policy": found[0].bn_policy,
            first[0].metric: [evaluation.mean for evaluation in found],
            "interval": [evaluation.interval for evaluation in found],
            "change": [_difference(evaluation, found[0]) for evaluation in found],
        }
        if i:
            pairs = zip(found, first, strict=True)
            runs[path]["against_first"] = [_difference(own, other) for own, other in pairs]
    return {
        "metric": first[0].metric,
        "split": first[0].split,
        "setting": first[0].setting,
        "episodes": first[0].episodes,
        "seed": first[0].seed,
        "scale": scale,
        "levels": list(levels),
        "standard_deviations": standard_deviations(levels, scale),
        "runs": runs,
    }


def noise_figure(values: Mapping[str, Any]) -> Figure:
    """Draws what is measured over noise, a line with its 95 % intervals for each run.

    Args:
        values: dict, from `noise_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, figure 9.

    Example:
    ```python
    from kfsl.analysis.gradient_learners.noise import noise_figure

    run = {"accuracy": [0.6, 0.5], "interval": [0.01, 0.01]}
    values = {"metric": "accuracy", "setting": "5-way 1-shot", "split": "test", "episodes": 600,
              "scale": "std", "levels": [0.0, 0.1], "runs": {"runs/maml": run}}
    figure = noise_figure(values)
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "maml"
    ```
    """
    what = {"std": "standard deviation", "variance": "variance"}[values["scale"]]
    metric = values["metric"]
    label = f"{what} of the noise on inner gradients"
    figure, axes = level_figure(values["levels"], label, metric=metric)
    curves = [(run[metric], run["interval"]) for run in values["runs"].values()]
    draw_curves(axes, values["levels"], curves, run_names(list(values["runs"])))
    axes.set_title(
        f"{values['setting']}, {values['split']}, {values['episodes']} episodes", fontsize=9
    )
    return figure


def _difference(first: Evaluation, second: Evaluation) -> dict[str, float]:
    difference = paired_difference(first, second)
    return {"mean": difference.mean, "interval": difference.interval}


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    levels: tuple[float, ...] = LEVELS,
    noise_scale: str = "std",
    episodes: int | None = None,
) -> Analysis:
    """What noise on the inner gradients costs this run and those to compare with.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which classes.
        levels: tuple of float. Levels of the noise.
        noise_scale: str. What they are: `"std"` or `"variance"`.
        episodes: int or None. The configuration's own number when None.

    Returns:
        `Analysis`.
    """
    deviations = standard_deviations(levels, noise_scale)
    experiment, learners = gradient_learners(request, compare, split, CLASSES, NUMBERS)
    arguments: dict[str, Any] = {"split": split}
    if episodes is not None:
        arguments["episodes"] = episodes
    found = noisy_evaluations(
        experiment, learners, deviations, configurables.bound(evaluate), **arguments
    )
    values = noise_values(found, levels, noise_scale)
    return Analysis(f"gradient_noise_{split}", noise_figure(values), values)
