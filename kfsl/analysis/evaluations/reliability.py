"""How far the probabilities of an evaluation can be believed."""

import os

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.analysis.tensorboard import show_in_tensorboard
from kfsl.calibration.words import evaluation_lines
from kfsl.figures.reliability import reliability_figure
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.trained_run import stored_evaluation


def check_probabilities(evaluation: Evaluation) -> None:
    """Refuses an evaluation that tells nothing of probabilities.

    Raises:
        ValueError: saying why.
    """
    if evaluation.metric != "accuracy":
        raise ValueError(
            f"This evaluation measures the {evaluation.metric} of a {evaluation.learner}, which "
            "gives no probabilities."
        )
    if not evaluation.calibration:
        raise ValueError(
            "This evaluation is of an earlier release and tells nothing of probabilities. Evaluate "
            "again: python -m kfsl.evaluate"
        )


def analyze(request: AnalysisRequest, *, split: str = "test") -> Analysis:
    """Confidence against accuracy, as the logits are and at the temperature that was fitted.

    Args:
        request: `AnalysisRequest`.
        split: str. Which evaluation, such as `"test"` or `"test_open_set"`.

    Returns:
        `Analysis`.
    """
    evaluation = stored_evaluation(request.run, split)
    check_probabilities(evaluation)
    found = evaluation.calibration
    panels = {"as they are": found["raw"]}
    if "scaled" in found:
        panels[f"at temperature {found['temperature']:.3g}"] = found["scaled"]
    figure = reliability_figure(panels, evaluation.summary())
    name = f"reliability_{split}"
    folder = os.path.join(request.run.tensorboard, name)

    def write() -> list[str]:
        show_in_tensorboard(folder, name, figure)
        return [folder]

    table = "\n".join([evaluation.summary(), *evaluation_lines(found, {})])
    return Analysis(name, figure, {"summary": evaluation.summary(), **found}, table, write=write)
