"""What a model card says was measured: a table for people, and the index that hubs read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kfsl.runs.evaluation_record import Evaluation

NOT_EVALUATED = (
    "**Not evaluated.** There is no evaluation of these weights; how good they are is not known. "
    "`python -m kfsl.evaluate --run_dir=RUN` measures it."
)


def measured_lines(description: Mapping[str, Any], own: Sequence[Evaluation]) -> list[str]:
    """Paragraphs of the card.

    Args:
        description: mapping, what `model.json` says.
        own: sequence of `Evaluation`, of the model's weights.

    Returns:
        list of str, Markdown.
    """
    exact, others = _divided(description, own)
    parts = [_table(description, exact)] if exact else [NOT_EVALUATED]
    if exact:
        parts.append(
            "± is half of a 95 % interval over episodes. ECE is the expected calibration error "
            f"{_which_probabilities(description)}."
        )
        if any(_gap(description, each) is None and each.calibration for each in exact):
            parts.append(
                "A dash under ECE: measured of other probabilities than those that are served."
            )
    if others:
        parts.append(
            "With other bindings than this model's; where they change more than the episodes, "
            "it is another model that was measured:"
        )
        parts.append(_table(description, others, bindings=True))
    return parts


def model_index(description: Mapping[str, Any], own: Sequence[Evaluation]) -> list[str]:
    """Lines of the front matter; none where nothing was measured.

    Args:
        description: mapping, what `model.json` says.
        own: sequence of `Evaluation`, of the model's weights.

    Returns:
        list of str, YAML.
    """
    exact, _ = _divided(description, own)
    if not exact:
        return []
    lines = ["model-index:", f"- name: {_quoted(description['learner'])}", "  results:"]
    for each in exact:
        kind = "image-classification" if description["image"] is not None else "other"
        lines += [
            "  - task:",
            f"      type: {kind}",
            f"      name: {_quoted(each.setting)}",
            "    dataset:",
            f"      name: {_quoted(each.dataset)}",
            f"      type: {_quoted(each.dataset)}",
            f"      split: {_quoted(each.split)}",
            "    metrics:",
            *_metric(each.metric, each.mean, f"mean of {each.episodes} episodes"),
            *_metric(f"{each.metric}_interval", each.interval, "half of the 95 % interval"),
        ]
        gap = _gap(description, each)
        if gap is not None:
            lines += _metric("ece", gap[0], "expected calibration error")
    return lines


def _metric(kind: str, value: float, name: str) -> list[str]:
    # What is no number is null in YAML, as in JSON.
    written = _quoted(value) if math.isfinite(value) else "null"
    return [
        f"    - type: {kind}",
        f"      value: {written}",
        f"      name: {_quoted(name)}",
    ]


def _divided(
    description: Mapping[str, Any], own: Sequence[Evaluation]
) -> tuple[list[Evaluation], list[Evaluation]]:
    """Evaluations with the model's own bindings, and with others."""
    mine = list(description.get("overrides") or [])
    exact = [each for each in own if list(each.overrides) == mine]
    return exact, [each for each in own if list(each.overrides) != mine]


def _table(
    description: Mapping[str, Any], evaluations: Sequence[Evaluation], bindings: bool = False
) -> str:
    heads = ["split", "of", "protocol", "queries", "episodes", "result", "BN policy", "ECE", "when"]
    rows = []
    for each in evaluations:
        row = [
            each.name,
            each.dataset,
            each.setting,
            _size(each.queries),
            str(each.episodes),
            f"{each.metric} {each.measure.text(each.mean, each.interval)}",
            f"{each.bn_policy}{', transductive' * each.transductive}",
            _gap_text(_gap(description, each)),
            str(each.environment.get("when", "not known")),
        ]
        rows.append([*row, ", ".join(f"`{b}`" for b in each.overrides) or "none"][: 9 + bindings])
    if bindings:
        heads.append("bindings")
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(each) for each in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _which_probabilities(description: Mapping[str, Any]) -> str:
    calibration = description.get("calibration")
    if calibration is None:
        return "of the probabilities, which are not calibrated"
    return f"of the probabilities at the temperature {calibration['temperature']:.4g}, as served"


def _gap(description: Mapping[str, Any], each: Evaluation) -> tuple[float, float] | None:
    """ECE and half of its interval, of the probabilities that this model serves."""
    calibration = description.get("calibration")
    found = each.calibration.get("raw")
    if calibration is not None:
        same = each.calibration.get("temperature") == calibration["temperature"]
        found = each.calibration.get("scaled") if same else None
    return (found["ece"], found["ece_interval"]) if found else None


def _gap_text(gap: tuple[float, float] | None) -> str:
    return "-" if gap is None else f"{100 * gap[0]:.2f} ± {100 * gap[1]:.2f} %"


def _size(size: Any) -> str:
    return "-".join(map(str, size)) if isinstance(size, list) else str(size)


def _quoted(value: Any) -> str:
    """A value as YAML has it: JSON is a part of YAML."""
    return json.dumps(value, ensure_ascii=False)
