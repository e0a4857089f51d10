"""The generators' weights: what they take from the own stream and from the other."""

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.cross_modulation import norms_figure
from kfsl.figures.cross_modulation_weights import norm_table, norm_values


def analyze(request: AnalysisRequest) -> Analysis:
    """The generators' weights: what they take from the own stream and from the other.

    Args:
        request: `AnalysisRequest`.

    Returns:
        `Analysis`.
    """
    learner = request.experiment().learner
    values = norm_values(learner)
    return Analysis("cross_modulation_norms", norms_figure(learner), values, norm_table(values))
