"""Where an agent went in the plane, before and after updates."""

from __future__ import annotations

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import ACTIONS, AnalysisRequest
from kfsl.figures.navigation import navigation_figure


def analyze(request: AnalysisRequest, *, split: str = "test", count: int = 3) -> Analysis:
    """Draws rollouts in the first tasks of an evaluation.

    Args:
        request: `AnalysisRequest`.
        split: str. Which tasks.
        count: int. How many of them.

    Returns:
        `Analysis`.

    Raises:
        ValueError: for a run of another environment.
    """
    experiment = request.experiment(ACTIONS)
    from kfsl.reinforcement.evaluate_policy import acting_over_updates
    from kfsl.reinforcement.navigation import Navigation

    if not isinstance(getattr(experiment, "environment", None), Navigation):
        raise ValueError(
            f"{request.run.path!r} has no agent that moves in the plane: this analysis is for runs "
            "in the environment Navigation."
        )
    goals, acted = acting_over_updates(experiment, split, count, updates=2)
    values = {
        "split": split,
        "goals": goals.tolist(),
        "returns": [each.returns.mean(axis=1).tolist() for each in acted],
    }
    figure = navigation_figure(goals, acted)
    return Analysis(f"navigation_{split}", figure, values)
