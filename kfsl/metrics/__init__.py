"""Metrics over episodes."""

from kfsl.metrics.episode_accuracy import EpisodeAccuracy
from kfsl.metrics.episode_error import EpisodeError

__all__ = ["EpisodeAccuracy", "EpisodeError"]
