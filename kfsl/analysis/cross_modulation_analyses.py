"""The analyses of Cross-Modulation Networks; functions import what is slow when called."""

from typing import Any

from kfsl.analysis.analysis import Analysis
from kfsl.analysis.analysis_request import AnalysisRequest


def modulation_noise(request: AnalysisRequest) -> Analysis:
    """What noise on the modulation of one block, or of all, costs a network in accuracy."""
    from kfsl.analysis import modulation_noise as noise
    from kfsl.analysis.cross_modulation_weights import check_cross_modulated
    from kfsl.analysis.gradient_noise import standard_deviations

    levels = request.levels or noise.LEVELS
    standard_deviations(levels, request.noise_scale)
    experiment = request.experiment()
    check_cross_modulated(experiment.learner)
    from kfsl import configurables, evaluation

    arguments: dict[str, Any] = {"split": request.split or "test"}
    if request.episodes is not None:
        arguments["episodes"] = request.episodes
    values = noise.noise_values(
        experiment,
        configurables.bound(evaluation.evaluate),
        levels=levels,
        scale=request.noise_scale,
        noise_seeds=request.noise_seeds,
        **arguments,
    )
    return Analysis(
        f"modulation_noise_{arguments['split']}",
        noise.noise_figure(values),
        values,
        noise.noise_table(values),
    )


def modulation_scales(request: AnalysisRequest) -> Analysis:
    """The absolute values of `gamma0` and `beta0`, block by block."""
    learner = request.experiment().learner
    from kfsl.analysis import cross_modulation_weights as weights
    from kfsl.analysis.cross_modulation_figure import scales_figure

    values = weights.scale_values(learner)
    return Analysis(
        "modulation_scales", scales_figure(learner), values, weights.scale_table(values)
    )


def modulation_norms(request: AnalysisRequest) -> Analysis:
    """The generators' weights: what they take from the own stream and from the other."""
    learner = request.experiment().learner
    from kfsl.analysis import cross_modulation_weights as weights
    from kfsl.analysis.cross_modulation_figure import norms_figure

    values = weights.norm_values(learner)
    return Analysis("modulation_norms", norms_figure(learner), values, weights.norm_table(values))


def commutativity(request: AnalysisRequest) -> Analysis:
    """How different `G(s, q)` and `G(q, s)` are, and how much varies with the other stream."""
    from kfsl.analysis import commutativity as orders

    experiment = request.experiment()
    orders.check_inductive(experiment.learner)
    from kfsl.evaluation import EVALUATION_SEED

    split = request.split or "test"
    values = orders.commutativity_values(
        experiment,
        split=split,
        episodes=request.episodes or orders.EPISODES,
        seed=EVALUATION_SEED,
    )
    return Analysis(
        f"commutativity_{split}",
        orders.commutativity_figure(values),
        values,
        orders.commutativity_table(values),
    )
