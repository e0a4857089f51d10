"""Pictures that need a learner and an episode, or numbers, alone."""

from kfsl.figures.attention import attention_figure
from kfsl.figures.class_activation import class_activation_figure
from kfsl.figures.completion import completion_figure
from kfsl.figures.cross_modulation import cross_modulation_figure
from kfsl.figures.episode import episode_figure
from kfsl.figures.feature_norms import feature_norms_figure
from kfsl.figures.function import function_figure

__all__ = [
    "attention_figure",
    "class_activation_figure",
    "completion_figure",
    "cross_modulation_figure",
    "episode_figure",
    "feature_norms_figure",
    "function_figure",
]
