"""The absolute values of `gamma0` and `beta0`, block by block."""

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.cross_modulation import scales_figure
from kfsl.figures.cross_modulation_weights import scale_table, scale_values


def analyze(request: AnalysisRequest) -> Analysis:
    """The absolute values of `gamma0` and `beta0`, block by block.

    Args:
        request: `AnalysisRequest`.

    Returns:
        `Analysis`.
    """
    learner = request.experiment().learner
    values = scale_values(learner)
    return Analysis("cross_modulation_scales", scales_figure(learner), values, scale_table(values))
