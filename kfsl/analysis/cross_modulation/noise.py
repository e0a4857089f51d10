"""What noise on the modulation of one block, or of all, costs a network in accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl import configurables
from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compiling_often, with_settings
from kfsl.analysis.gradient_learners.noise import standard_deviations
from kfsl.analysis.request import AnalysisRequest
from kfsl.evaluation.evaluate import evaluate
from kfsl.figures.cross_modulation_weights import check_cross_modulated
from kfsl.figures.curves import COLORS
from kfsl.figures.text_table import text_table
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import paired_difference

if TYPE_CHECKING:
    from kfsl.experiment import Experiment

#: The N(1, 0.3) of the paper's table 2.
LEVELS = (0.3,)


def noisy_evaluations(
    experiment: Experiment,
    evaluate: Callable[..., Evaluation],
    *,
    noise: float,
    noisy: Sequence[str],
    noise_seeds: int = 1,
    **arguments: Any,
) -> list[Evaluation]:
    """Evaluates a network whose modulation is distorted in some blocks.

    Args:
        experiment: `Experiment` of a `CrossModulationLearner`.
        evaluate: callable, `kfsl.evaluation.evaluate.evaluate` or it with bindings.
        noise: float. Standard deviation of the factors that distort, whose mean is 1.
        noisy: sequence of str. The modulated layers that are distorted; none: nothing is drawn.
        noise_seeds: int. Draws of the noise.
        **arguments: for `evaluate`.

    Returns:
        list of `Evaluation`, one for each draw, all of the same episodes.
    """
    learner = experiment.learner
    found = []
    for draw in range(noise_seeds):
        # Layer i draws from seed + i: no two layers of any two draws share their numbers.
        seed = draw * len(learner.modulated)
        distorted = with_settings(learner, noise=noise, noisy=tuple(noisy), noise_seed=seed)
        with compiling_often():
            found.append(evaluate(dataclasses.replace(experiment, learner=distorted), **arguments))
    return found


def noise_values(
    experiment: Experiment,
    evaluate: Callable[..., Evaluation],
    *,
    levels: Sequence[float] = LEVELS,
    scale: str = "std",
    noise_seeds: int = 3,
    **arguments: Any,
) -> dict[str, Any]:
    """Accuracies with noise in no block, in each alone and in all, as JSON can hold them.

    Args:
        experiment: `Experiment` of a `CrossModulationLearner`.
        evaluate: callable, `kfsl.evaluation.evaluate.evaluate` or it with bindings.
        levels: sequence of float. Levels of noise.
        scale: str. What they are; see `kfsl.analysis.gradient_learners.noise.standard_deviations`.
        noise_seeds: int. Draws of the noise.
        **arguments: for `evaluate`.

    Returns:
        dict. `clean`, and `rows`, one for each level and set of `noisy` blocks, with

        - `accuracy`, mean over draws and episodes, and `interval`, half of the 95 % interval
          over episodes of each one's mean over draws;
        - `by_seed`, the accuracy of each draw, and `spread`, their standard deviation (None for
          one draw);
        - `change`, the paired difference to `clean`.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), table 2.
    """
    deviations = standard_deviations(levels, scale)
    blocks = list(experiment.learner.modulated)
    sets = [[block] for block in blocks] + ([blocks] if len(blocks) > 1 else [])
    (clean,) = noisy_evaluations(experiment, evaluate, noise=0.0, noisy=(), **arguments)
    rows = []
    for level, deviation in zip(levels, deviations, strict=True):
        for noisy in sets:
            found = noisy_evaluations(
                experiment,
                evaluate,
                noise=deviation,
                noisy=noisy,
                noise_seeds=noise_seeds,
                **arguments,
            )
            rows.append({"level": level, "noisy": noisy, **_row(found, clean)})
    return {
        "learner": clean.learner,
        "bn_policy": clean.bn_policy,
        "split": clean.split,
        "setting": clean.setting,
        "episodes": clean.episodes,
        "seed": clean.seed,
        "scale": scale,
        "levels": list(levels),
        "standard_deviations": deviations,
        "noise_seeds": noise_seeds,
        "blocks": blocks,
        "clean": {"accuracy": clean.mean, "interval": clean.interval},
        "rows": rows,
    }


def noise_table(values: Mapping[str, Any]) -> str:
    """The numbers of `noise_values` as lines of text, in percent.

    Args:
        values: dict, from `noise_values`.

    Returns:
        str: a heading, a line without noise, and a line for each row; `x` marks noise.
    """
    blocks = values["blocks"]
    heading = ("noise", *blocks, "accuracy (%)", "change (points)", "spread over draws")
    lines = [heading, ("", *[""] * len(blocks), _percent(values["clean"]), "", "")]
    for row in values["rows"]:
        change = row["change"]
        lines.append(
            (
                f"{row['level']:g}",
                *("x" if block in row["noisy"] else "" for block in blocks),
                _percent(row),
                f"{100 * change['mean']:+.2f} ± {100 * change['interval']:.2f}",
                "" if row["spread"] is None else f"{100 * row['spread']:.2f}",
            )
        )
    return text_table(lines)


def noise_figure(values: Mapping[str, Any]) -> Figure:
    """Draws accuracy by distorted block, with 95 % intervals; dots are single draws.

    Args:
        values: dict, from `noise_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), table 2.

    Example:
    ```python
    from kfsl.analysis.cross_modulation.noise import noise_figure

    values = {"setting": "5-way 1-shot", "split": "test", "episodes": 600, "scale": "std"}
    clean = {"accuracy": 0.5, "interval": 0.01}
    row = {"level": 0.3, "noisy": ["block4_bn"], "accuracy": 0.4, "interval": 0.01}
    figure = noise_figure(
        {**values, "levels": [0.3], "clean": clean, "rows": [{**row, "by_seed": [0.4]}]}
    )
    assert figure.axes[0].get_xticklabels()[0].get_text() == "block4_bn"
    ```
    """
    levels, clean = values["levels"], values["clean"]
    names = [_name(row["noisy"]) for row in values["rows"][: len(values["rows"]) // len(levels)]]
    figure = Figure(figsize=(2.6 + 1.1 * len(names), 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    low, high = (clean["accuracy"] + sign * clean["interval"] for sign in (-1, 1))
    axes.axhline(clean["accuracy"], color="black", linewidth=1.0, label="without noise")
    axes.axhspan(low, high, color="black", alpha=0.12, linewidth=0)
    what = {"std": "standard deviation", "variance": "variance"}[values["scale"]]
    for i, level in enumerate(levels):
        rows = values["rows"][i * len(names) : (i + 1) * len(names)]
        places = np.arange(len(names)) + 0.16 * (i - (len(levels) - 1) / 2)
        color = COLORS[i % len(COLORS)]
        axes.errorbar(
            places,
            [row["accuracy"] for row in rows],
            [row["interval"] for row in rows],
            fmt="o",
            color=color,
            capsize=4,
            label=f"{what} {level:g}",
        )
        for place, row in zip(places, rows, strict=True):
            draws = row["by_seed"]
            axes.plot([place + 0.06] * len(draws), draws, ".", color=color, alpha=0.5)
    axes.set_xticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel("distorted modulation")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    title = f"{values['setting']}, {values['split']}, {values['episodes']} episodes"
    axes.set_title(title, fontsize=9)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _row(found: Sequence[Evaluation], clean: Evaluation) -> dict[str, Any]:
    means = np.mean([evaluation.values for evaluation in found], axis=0).tolist()
    together = dataclasses.replace(found[0], values=means)
    by_seed = [evaluation.mean for evaluation in found]
    change = paired_difference(together, clean)
    return {
        "accuracy": together.mean,
        "interval": together.interval,
        "by_seed": by_seed,
        "spread": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
        "change": {"mean": change.mean, "interval": change.interval},
    }


def _name(noisy: Sequence[str]) -> str:
    return noisy[0] if len(noisy) == 1 else "all"


def _percent(values: Mapping[str, float]) -> str:
    return f"{100 * values['accuracy']:.2f} ± {100 * values['interval']:.2f}"


def analyze(
    request: AnalysisRequest,
    *,
    split: str = "test",
    levels: tuple[float, ...] = LEVELS,
    noise_scale: str = "std",
    noise_seeds: int = 3,
    episodes: int | None = None,
) -> Analysis:
    """What noise on the modulation of one block, or of all, costs a network in accuracy.

    Args:
        request: `AnalysisRequest`.
        split: str. Which classes.
        levels: tuple of float. Levels of the noise.
        noise_scale: str. What they are: `"std"` or `"variance"`.
        noise_seeds: int. Draws of the noise to average over.
        episodes: int or None. The configuration's own number when None.

    Returns:
        `Analysis`.
    """
    standard_deviations(levels, noise_scale)
    experiment = request.experiment()
    check_cross_modulated(experiment.learner)
    arguments: dict[str, Any] = {"split": split}
    if episodes is not None:
        arguments["episodes"] = episodes
    values = noise_values(
        experiment,
        configurables.bound(evaluate),
        levels=levels,
        scale=noise_scale,
        noise_seeds=noise_seeds,
        **arguments,
    )
    name = f"cross_modulation_noise_{split}"
    return Analysis(name, noise_figure(values), values, noise_table(values))
