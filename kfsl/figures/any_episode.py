"""The picture that fits an episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kfsl.episodes import QUERY_INPUTS, SUPPORT_LABELS
from kfsl.figures.completion import completion_figure
from kfsl.figures.episode import episode_figure
from kfsl.figures.function import function_figure

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


def any_episode_figure(
    learner: keras.Model | None,
    episode: dict[str, Any],
    targets: Any,
    class_names: Sequence[str],
) -> Figure:
    """Draws an episode of any kind: classes of images, an image to complete, a function.

    Args:
        learner: `Learner` or None, for the episode alone.
        episode: dict of arrays.
        targets: array, the queries'.
        class_names: sequence of str. All classes of the split.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: for functions of more than two numbers, or of arrays; for images of base
            classes without a support set.

    Example:
    ```python
    from kfsl.figures.any_episode import any_episode_figure
    from kfsl.objectives.regression_spec import RegressionSpec

    episode, targets = RegressionSpec(points=5, queries=20, input_shape=(1,)).random_episode()
    assert any_episode_figure(None, episode, targets, ()).axes[0].get_title() == "5 points given"
    ```
    """
    if QUERY_INPUTS not in episode:
        if SUPPORT_LABELS not in episode:
            raise ValueError(
                "There is no picture of a plain batch of base classes, which has no support set: "
                "choose a split that is drawn in episodes, such as val."
            )
        return episode_figure(learner, episode, targets, class_names)
    shape = tuple(episode[QUERY_INPUTS].shape)
    if len(shape) != 3:
        raise ValueError(f"There is no picture of functions of inputs of shape {shape[2:]}.")
    draw = function_figure if shape[-1] == 1 else completion_figure
    return draw(learner, episode, targets, class_names)
