"""What calibration and open-set episodes found, in lines for people."""

from collections.abc import Mapping
from typing import Any

from kfsl.calibration.record import Calibration
from kfsl.calibration.reliability import Reliability

#: How the scores are called.
NAMES = {
    "max_probability": "largest probability",
    "max_logit": "largest logit",
    "energy": "energy",
}


def evaluation_lines(calibration: Mapping[str, Any], open_set: Mapping[str, Any]) -> list[str]:
    """What an evaluation says of probabilities and of unknown classes.

    Args:
        calibration: mapping, `Evaluation.calibration`; empty where there are no probabilities.
        open_set: mapping, `Evaluation.open_set`; empty where all queries were of known classes.

    Returns:
        list of str.
    """
    lines = []
    if calibration:
        lines.append(f"  {Reliability.from_json(calibration['raw']).summary()}")
    if calibration.get("scaled"):
        scaled = Reliability.from_json(calibration["scaled"]).summary()
        lines.append(f"  at temperature {calibration['temperature']:.4g}: {scaled}")
    return lines + (open_set_lines(open_set) if open_set else [])


def open_set_lines(found: Mapping[str, Any]) -> list[str]:
    """How well queries of no class were told apart, whatever the threshold and at it.

    Args:
        found: mapping, `Evaluation.open_set`, or `Calibration.rejection`.

    Returns:
        list of str.
    """
    score = found["score"]
    auroc = found["auroc"][score]
    lines = [
        f"  none of these ({found['unknown_ways']} unknown classes): AUROC "
        f"{_percent(auroc['mean'], auroc['interval'])} by the {NAMES[score]}; of all episodes "
        f"together {_percent(*auroc['pooled'])}"
    ]
    if found["rates"] is None:
        return [*lines, "  no threshold is fitted: python -m kfsl.evaluate --calibrate"]
    rates = {name: _percent(*rate) if rate else "-" for name, rate in found["rates"].items()}
    lines.append(
        f"  at the threshold {found['threshold']:.4g}: {rates['known_accepted']} of the known "
        f"accepted, {rates['accepted_accuracy']} of these right; {rates['unknown_rejected']} of "
        "the unknown rejected"
    )
    return lines


def calibration_lines(found: Calibration) -> list[str]:
    """What was fitted, and on what.

    Args:
        found: `Calibration`.

    Returns:
        list of str.
    """
    before, after = (Reliability.from_json(each) for each in (found.before, found.after))
    lines = [
        f"temperature {found.temperature:.4g}, fitted on {found.episodes} episodes of the split "
        f"{found.split!r}",
        f"  before: {before.summary()}",
        f"  after:  {after.summary()}",
    ]
    if found.rejection is None:
        return [*lines, "  no threshold: the split leaves no classes beside an episode's"]
    return lines + open_set_lines(found.rejection)


def probabilities_line(calibration: Mapping[str, Any] | None, jointly: bool = False) -> str:
    """How far the probabilities of a served model can be believed.

    Args:
        calibration: mapping or None: `calibration` in `model.json`.
        jointly: bool. Whether they are among base classes too, for which nothing is fitted.

    Returns:
        str.
    """
    if calibration is None or jointly:
        return (
            "The scores are softmax values and not calibrated: 0.9 does not mean right nine times "
            "in ten."
        )
    setting = f"{_size(calibration['ways'])}-way {_size(calibration['shots'])}-shot"
    before, after = (calibration[name]["ece"] for name in ("before", "after"))
    return (
        f"The probabilities are calibrated by the temperature {calibration['temperature']:.3g}, "
        f"fitted on {calibration['episodes']} {setting} validation episodes, where the expected "
        f"calibration error is {100 * after:.1f} % with it, {100 * before:.1f} % without; with "
        "other numbers of classes or images, and on images of another kind, they may be off."
    )


def _percent(number: float, half: float | None) -> str:
    told = "" if half is None else f" ± {100 * half:.2f}"
    return f"{100 * number:.2f}{told} %"


def _size(size: int | list[int]) -> str:
    return "-".join(map(str, size)) if isinstance(size, list) else str(size)
