"""Where an agent went in the plane, before and after updates."""

from __future__ import annotations

from typing import Any

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import ACTIONS, AnalysisRequest
from kfsl.figures.navigation import navigation_figure


def analyze(request: AnalysisRequest, *, split: str = "test", count: int = 3) -> Analysis:
    """Draws rollouts in the first tasks of the run's own evaluation.

    Args:
        request: `AnalysisRequest`.
        split: str. Which tasks.
        count: int. How many of them.

    Returns:
        `Analysis`.

    Raises:
        ValueError: for a run of another environment, or a policy that diverges.
    """
    experiment = request.experiment(ACTIONS)
    from kfsl import configurables
    from kfsl.reinforcement.navigation import Navigation

    if not isinstance(getattr(experiment, "environment", None), Navigation):
        raise ValueError(
            f"{request.run.path!r} has no agent that moves in the plane: this analysis is for runs "
            "in the environment Navigation."
        )
    seen: list[Any] = []
    evaluate = configurables.command_of("evaluate", experiment)
    # An evaluation has an interval, and so two tasks or more.
    found = evaluate(
        experiment,
        split=split,
        episodes=max(count, 2),
        updates=2,
        watch=lambda *told: seen.extend(told),
    )
    goals, acted = seen[0][:count], seen[1]
    values = {
        "split": split,
        "goals": goals.tolist(),
        "returns": [returns[:count] for returns in found.after_updates],
    }
    figure = navigation_figure(goals, acted)
    return Analysis(f"navigation_{split}", figure, values)
