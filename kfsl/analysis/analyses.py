"""The analyses that `kfsl.analyze` knows, by name; a module is imported when it is asked for."""

import inspect
from collections.abc import Callable
from importlib import import_module

from kfsl.analysis.answer import Analysis

#: Analyses of trained learners. Each module has an `analyze(request, *, options...)`; a new
#: analysis is a module and a line.
OF_LEARNERS: dict[str, str] = {
    "attention": "kfsl.analysis.attention",
    "class_activation": "kfsl.analysis.dense_classification.class_activation",
    "completions": "kfsl.analysis.regression.completions",
    "cross_modulation_commutativity": "kfsl.analysis.cross_modulation.commutativity",
    "cross_modulation_noise": "kfsl.analysis.cross_modulation.noise",
    "cross_modulation_norms": "kfsl.analysis.cross_modulation.norms",
    "cross_modulation_scales": "kfsl.analysis.cross_modulation.scales",
    "gradient_noise": "kfsl.analysis.gradient_learners.noise",
    "implant_updates": "kfsl.analysis.dense_classification.implant_updates",
    "inner_steps": "kfsl.analysis.gradient_learners.inner_steps",
    "modgrad_spectrum": "kfsl.analysis.gradient_learners.modgrad_spectrum",
    "navigation": "kfsl.analysis.reinforcement.navigation",
    "multishot": "kfsl.analysis.gradient_learners.multishot",
    "pooling_grid": "kfsl.analysis.dense_classification.pooling_grid",
    "second_order": "kfsl.analysis.second_order.report",
    "task_embeddings": "kfsl.analysis.multimodal.task_embeddings",
    "transference": "kfsl.analysis.multimodal.transference",
}

#: Analyses of what evaluation and training have written; they need no TensorFlow.
OF_FILES: dict[str, str] = {
    "confusion": "kfsl.analysis.evaluations.confusion",
    "reliability": "kfsl.analysis.evaluations.reliability",
    "returns": "kfsl.analysis.reinforcement.returns",
    "experts": "kfsl.analysis.evaluations.experts",
    "shots_and_steps": "kfsl.analysis.evaluations.shots_and_steps",
    "validation_curves": "kfsl.analysis.evaluations.validation_curves",
}

ANALYSES = OF_LEARNERS | OF_FILES

#: Those whose levels are numbers of inner steps; other levels are of noise.
OF_STEPS = ("inner_steps", "multishot")

#: What analyses were called before their families had names; scripts still say so.
EARLIER_NAMES = {
    "commutativity": "cross_modulation_commutativity",
    "modulation_noise": "cross_modulation_noise",
    "modulation_norms": "cross_modulation_norms",
    "modulation_scales": "cross_modulation_scales",
    "modulation_spectrum": "modgrad_spectrum",
}


def current_name(name: str) -> str:
    """The name of an analysis today.

    Raises:
        ValueError: listing the names.
    """
    name = EARLIER_NAMES.get(name, name)
    if name == "episode":
        raise ValueError("--analysis=episode is the command kfsl.show --run_dir=DIR --index=N.")
    if name not in ANALYSES:
        raise ValueError(f"--analysis={name} is unknown; there are {', '.join(sorted(ANALYSES))}.")
    return name


def find(name: str) -> Callable[..., Analysis]:
    """The `analyze` of the analysis of that name.

    Raises:
        ValueError: listing the names.
    """
    return import_module(ANALYSES[current_name(name)]).analyze


def check_levels(name: str, levels: tuple[float, ...]) -> None:
    """Refuses levels that no analysis of that name has, before anything slow is imported.

    Args:
        name: str. Name of the analysis.
        levels: tuple of float.

    Raises:
        ValueError: naming the level, or if there is none.
    """
    if not levels:
        raise ValueError("--levels is empty; name some, such as 0,0.1, or leave it out.")
    for level in levels:
        if name in OF_STEPS and not (level.is_integer() and level >= 0):
            raise ValueError(f"A number of inner steps is an integer from 0; received {level:g}.")
        if not level >= 0:
            raise ValueError(f"A level of noise must be at least 0; received {level:g}.")


def check_options(name: str, analyze: Callable[..., Analysis], given: list[str]) -> None:
    """Refuses options that an analysis does not have.

    Args:
        name: str. Name of the analysis.
        analyze: callable; its keyword arguments are the options it has.
        given: list of str. Options that were given.

    Raises:
        ValueError: naming the option and those that the analysis has.
    """
    known = list(inspect.signature(analyze).parameters)[1:]
    for option in given:
        if option not in known:
            has = ", ".join(f"--{each}" for each in known) or "no option of its own"
            raise ValueError(f"--{option} is not read by --analysis={name}, which has {has}.")
