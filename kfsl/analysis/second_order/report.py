"""The audit of second derivatives as a table, a sentence and a figure."""

import dataclasses
from collections.abc import Sequence

import keras
from matplotlib.figure import Figure

import kfsl.configurables  # noqa: F401  Loading finds kfsl's classes by name.
from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import (
    ACTIONS,
    CLASSES,
    NUMBERS,
    AnalysisRequest,
    check_model_file,
)
from kfsl.analysis.second_order.audit import LayerAudit, audit
from kfsl.analysis.second_order.error import TOLERANCE
from kfsl.command_line import command
from kfsl.figures.text_table import text_table
from kfsl.runs.learner_file import whole_copy


def table(audits: Sequence[LayerAudit]) -> str:
    """The audits as lines of text.

    Args:
        audits: sequence of `LayerAudit`.

    Returns:
        str: a heading, and a line for each layer with name, class, error and verdict.
    """
    rows = [("layer", "class", "error", "verdict", "")]
    for a in audits:
        error = "" if a.error is None else f"{a.error:.1e}"
        rows.append((a.name, a.kind, error, a.verdict, "" if a.at_fault else a.reason))
    return text_table(rows)


def conclusion(audits: Sequence[LayerAudit]) -> str:
    """The layers at fault, and what to do about each kind of fault.

    Args:
        audits: sequence of `LayerAudit`.

    Returns:
        str, one line.
    """
    faults: dict[str, list[str]] = {}
    for a in audits:
        if a.at_fault:
            faults.setdefault(a.reason, []).append(a.name)
    skipped = [a.name for a in audits if a.verdict == "not audited"]
    rest = f" Not audited: {', '.join(skipped)}." if skipped else ""
    if not faults:
        return f"No layer has a wrong second derivative.{rest}"
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in faults.items())
    return f"Wrong second derivatives: {told}.{rest}"


def second_order_figure(audits: Sequence[LayerAudit]) -> Figure:
    """Draws the layers' errors on a logarithmic axis, and the tolerance.

    Args:
        audits: sequence of `LayerAudit`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    shown = [a for a in audits if a.error is not None or a.at_fault]
    figure = Figure(figsize=(7.0, 1.2 + 0.22 * len(shown)), dpi=110, layout="constrained")
    axes = figure.subplots()
    errors = [1.0 if a.error is None else max(a.error, 1e-12) for a in shown]
    colors = ["#d55e00" if a.at_fault else "#0072b2" for a in shown]
    axes.barh([f"{i + 1} {a.name}" for i, a in enumerate(shown)], errors, color=colors)
    axes.axvline(TOLERANCE, color="black", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(1e-12, max(10.0, *errors) if errors else 10.0)
    axes.invert_yaxis()
    axes.tick_params(labelsize=7)
    axes.set_xlabel("relative error of the second derivative (dashed: tolerance)")
    return figure


def analyze(request: AnalysisRequest, *, model: str | None = None) -> Analysis:
    """Which layers TensorFlow differentiates twice correctly.

    Args:
        request: `AnalysisRequest`; it has no run where `model` is given.
        model: str or None. A `.keras` file to audit instead of a run's network.

    Returns:
        `Analysis`.
    """
    audits = audit(audited_model(request, model))
    told = conclusion(audits)
    values = {
        "tolerance": TOLERANCE,
        "layers": [dataclasses.asdict(layer) for layer in audits],
        "at_fault": [layer.name for layer in audits if layer.at_fault],
        "conclusion": told,
    }
    return Analysis("second_order", second_order_figure(audits), values, table(audits), told)


def audited_model(request: AnalysisRequest, path: str | None) -> keras.Model:
    """The Keras model in a file, or the network or backbone of the run's learner.

    Raises:
        ValueError: if the file is damaged, or holds no model that can be loaded.
        FileNotFoundError: if there is no such file, or nothing was trained.
    """
    if path is None:
        learner = request.experiment(CLASSES, NUMBERS, ACTIONS).learner
        network = getattr(learner, "network", None) or getattr(learner, "backbone", None)
        if network is None:
            raise ValueError(f"{type(learner).__name__} has neither network nor backbone.")
        return network
    check_model_file(path)
    with whole_copy(path) as copy:
        try:
            return keras.saving.load_model(copy, compile=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path!r} cannot be loaded: {command.one_line(error)[:300]} If it has "
                "classes of your own, call kfsl.analysis.second_order.audit.audit(model) in "
                "Python."
            ) from error
