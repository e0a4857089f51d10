"""Where an agent went in the plane, before and after updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from kfsl.figures.curves import COLORS

if TYPE_CHECKING:
    from kfsl.reinforcement.trajectories import Trajectories

#: Rollouts of each task that are drawn.
MOST_PATHS = 5


def navigation_figure(
    goals: np.ndarray,
    acted: Sequence[Trajectories],
) -> Figure:
    """Draws paths in the plane, a row for each task and a column for each number of updates.

    Args:
        goals: float array, `[B, 2]`.
        acted: sequence of `Trajectories`, after 0, 1, ... updates.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), figure 4.

    Example:
    ```python
    import numpy as np
    from kfsl.figures.navigation import navigation_figure

    from kfsl.reinforcement.trajectories import Trajectories

    still = Trajectories(
        np.zeros((1, 2, 4, 2)), np.zeros((1, 2, 4, 2)), np.full((1, 2, 4), -5.0),
        np.ones((1, 2, 4), bool), np.zeros((1, 2, 4, 4)),
    )
    figure = navigation_figure(np.array([[0.3, 0.2]]), [still])
    assert figure.axes[0].get_title() == "before any update: -20.0"
    ```
    """
    rows, columns = len(goals), len(acted)
    figure = Figure(figsize=(2.6 * columns, 2.7 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    farthest = max(0.6, 1.05 * float(np.abs(goals).max()))
    for row in range(rows):
        for column, axes in enumerate(panels[row]):
            found = acted[column]
            paths = zip(found.observations[row], found.mask[row], strict=True)
            for path, mask in list(paths)[:MOST_PATHS]:
                axes.plot(*path[mask].T, "-", color=COLORS[0], linewidth=0.9, alpha=0.7)
            axes.plot(*goals[row], "*", color=COLORS[1], markersize=11)
            axes.plot(0, 0, "o", color="#000000", markersize=3)
            when = "before any update" if column == 0 else f"after {column}"
            axes.set_title(f"{when}: {found.returns[row].mean():.1f}", fontsize=8)
            axes.set(xlim=(-farthest, farthest), ylim=(-farthest, farthest), aspect="equal")
            axes.tick_params(labelsize=6)
    return figure
