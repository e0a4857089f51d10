"""The analyses that `kfsl.analyze` knows, by name."""

from collections.abc import Callable
from typing import Any

from kfsl.analysis import cross_modulation_analyses as cross_modulation
from kfsl.analysis.analysis import Analysis
from kfsl.analysis.analysis_request import AnalysisRequest


def attention(request: AnalysisRequest) -> Analysis:
    """What STANet looks at, for one query of an episode."""
    experiment, episode, query_labels, class_names = request.episode()
    import numpy as np

    from kfsl.analysis.attention import attention_figure

    learner = experiment.learner
    figure = attention_figure(learner, episode, query_labels, class_names, query=request.query)
    labels, classes = (
        np.asarray(episode[name])[0] for name in ("support_labels", "support_classes")
    )
    name_of = {int(label): class_names[c] for label, c in zip(labels, classes, strict=True)}
    outputs = learner(episode, training=False)
    values = {
        "classes": [name_of[label] for label in sorted(name_of)],
        "true_class": name_of[int(np.asarray(query_labels)[0, request.query])],
        "logits": np.asarray(outputs["logits"])[0, request.query].tolist(),
        "support_labels": labels.tolist(),
        "task_attention": np.asarray(outputs["task_attention"])[0, :, request.query].tolist(),
    }
    split = request.split or "val"
    return Analysis(f"attention_{split}_{request.index}_{request.query}", figure, values)


def confusion(request: AnalysisRequest) -> Analysis:
    """The hardest classes of an evaluation, and those taken for one another."""
    from kfsl.analysis.confusion import confusion_figure, confusion_json
    from kfsl.trained_run import stored_evaluation

    split = request.split or "test"
    evaluation = stored_evaluation(request.run, split)
    figure = confusion_figure(evaluation, request.count)
    return Analysis(f"confusion_{split}", figure, confusion_json(evaluation, request.count))


def episode(request: AnalysisRequest) -> Analysis:
    """An episode with the learner's predictions."""
    experiment, drawn, query_labels, class_names = request.episode()
    from kfsl.analysis.episode_figure import episode_figure, episode_json

    arguments = (experiment.learner, drawn, query_labels, class_names)
    name = f"episode_{request.split or 'val'}_{request.index}"
    return Analysis(name, episode_figure(*arguments), episode_json(*arguments))


def gradient_noise(request: AnalysisRequest) -> Analysis:
    """How noise on the inner gradients costs this run and those to compare with accuracy."""
    from kfsl.analysis import gradient_noise as noise
    from kfsl.analysis.compared_learners import gradient_learners

    levels = request.levels or noise.LEVELS
    deviations = noise.standard_deviations(levels, request.noise_scale)
    experiment, learners = gradient_learners(request)
    from kfsl import configurables, evaluation

    arguments: dict[str, Any] = {"split": request.split or "test"}
    if request.episodes is not None:
        arguments["episodes"] = request.episodes
    evaluate = configurables.bound(evaluation.evaluate)
    found = noise.noisy_evaluations(experiment, learners, deviations, evaluate, **arguments)
    values = noise.noise_values(found, levels, request.noise_scale)
    return Analysis(f"gradient_noise_{arguments['split']}", noise.noise_figure(values), values)


def inner_steps(request: AnalysisRequest) -> Analysis:
    """Accuracy and support loss after 0, 1, ... inner steps, on the same episodes."""
    from kfsl.analysis import inner_steps as curves
    from kfsl.analysis.compared_learners import gradient_learners

    steps = curves.step_numbers(request.levels)
    experiment, learners = gradient_learners(request)
    from kfsl.evaluation import EVALUATION_SEED

    split = request.split or "test"
    values = curves.steps_values(
        experiment,
        learners,
        steps or curves.default_steps(list(learners.values())),
        split=split,
        episodes=request.episodes or curves.EPISODES,
        seed=EVALUATION_SEED,
    )
    return Analysis(f"inner_steps_{split}", curves.steps_figure(values), values)


def modulation_spectrum(request: AnalysisRequest) -> Analysis:
    """What ModGrad's modulation lets through of the gradient, and of noise on it."""
    from kfsl.analysis import modulation_spectrum as spectra
    from kfsl.analysis.compared_learners import gradient_learners
    from kfsl.analysis.gradient_noise import standard_deviations
    from kfsl.analysis.modulation_figure import modulation_figure
    from kfsl.analysis.spectra import RADII

    noise = [level for level in request.levels or spectra.LEVELS if level != 0]
    deviations = [0.0, *standard_deviations(noise, request.noise_scale)]
    experiment, learners = gradient_learners(request)
    from kfsl.evaluation import EVALUATION_SEED

    spectra.check_modulated(learners)
    arguments = {
        "split": request.split or "test",
        "episodes": request.episodes or spectra.EPISODES,
        "seed": EVALUATION_SEED,
    }
    runs = {
        path: spectra.modulation_values(experiment, learner, deviations, **arguments)
        for path, learner in learners.items()
    }
    values = {**arguments, "radii": list(RADII), "runs": runs}
    return Analysis(
        f"modulation_spectrum_{request.split or 'test'}", modulation_figure(runs), values
    )


def second_order(request: AnalysisRequest) -> Analysis:
    """Which layers TensorFlow differentiates twice correctly."""
    model = request.audited_model()
    import dataclasses

    from kfsl.analysis import second_order_report as report
    from kfsl.analysis.second_order import audit
    from kfsl.analysis.second_order_error import TOLERANCE

    audits = audit(model)
    conclusion = report.conclusion(audits)
    values = {
        "tolerance": TOLERANCE,
        "layers": [dataclasses.asdict(layer) for layer in audits],
        "at_fault": [layer.name for layer in audits if layer.at_fault],
        "conclusion": conclusion,
    }
    figure = report.second_order_figure(audits)
    return Analysis("second_order", figure, values, report.table(audits), conclusion)


def multishot(request: AnalysisRequest) -> Analysis:
    """Loss and held-out accuracy over a long inner loop, over the alphabets of a split."""
    from kfsl.analysis import multishot as curves
    from kfsl.analysis.compared_learners import gradient_learners
    from kfsl.analysis.inner_steps import step_numbers

    steps = step_numbers(request.levels)
    experiment, learners = gradient_learners(request)
    from kfsl.evaluation import EVALUATION_SEED

    split = request.split or "test"
    values = curves.multishot_values(
        experiment,
        learners,
        steps or curves.default_levels(list(learners.values())),
        split=split,
        episodes=request.episodes,
        seed=EVALUATION_SEED,
    )
    return Analysis(f"multishot_{split}", curves.multishot_figure(values), values)


def shots_and_steps(request: AnalysisRequest) -> Analysis:
    """The evaluations of several runs: accuracy by shots, inner steps or columns."""
    from kfsl.analysis.shots_and_steps import evaluation_rows, rows_figure

    split = request.split or "test"
    rows = evaluation_rows([request.run, *request.compare], split)
    return Analysis(f"shots_and_steps_{split}", rows_figure(rows, split), {"rows": rows})


def validation_curves(request: AnalysisRequest) -> Analysis:
    """How the validation accuracy of this run and those to compare with grew."""
    from kfsl.analysis.validation_curves import validation_curves

    runs = (request.run, *request.compare)
    figure = validation_curves([run.path for run in runs])
    curves = {
        run.path: {"steps": line.get_xdata().tolist(), "accuracy": line.get_ydata().tolist()}
        for run, line in zip(runs, figure.axes[0].lines, strict=True)
    }
    return Analysis("validation_curves", figure, {"curves": curves})


#: A method adds its own analysis here. Functions import what is slow when they are called.
ANALYSES: dict[str, Callable[[AnalysisRequest], Analysis]] = {
    "attention": attention,
    "commutativity": cross_modulation.commutativity,
    "confusion": confusion,
    "episode": episode,
    "gradient_noise": gradient_noise,
    "inner_steps": inner_steps,
    "modulation_noise": cross_modulation.modulation_noise,
    "modulation_norms": cross_modulation.modulation_norms,
    "modulation_scales": cross_modulation.modulation_scales,
    "modulation_spectrum": modulation_spectrum,
    "multishot": multishot,
    "second_order": second_order,
    "shots_and_steps": shots_and_steps,
    "validation_curves": validation_curves,
}


def find(name: str) -> Callable[[AnalysisRequest], Analysis]:
    """The analysis of that name.

    Raises:
        ValueError: listing the names.
    """
    if name not in ANALYSES:
        raise ValueError(f"--analysis={name} is unknown; there are {', '.join(sorted(ANALYSES))}.")
    return ANALYSES[name]
