"""The audit of second derivatives as a table, a sentence and a figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from kfsl.analysis.second_order import LayerAudit
from kfsl.analysis.second_order_error import TOLERANCE
from kfsl.analysis.text_table import text_table


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
