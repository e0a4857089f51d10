"""Keeps the learner as it is after some of the epochs."""

from collections.abc import Mapping

import keras

from kfsl.metrics.finite_weights import weight_not_finite
from kfsl.training.callbacks.whole_file import save_whole


class KeptLearners(keras.callbacks.Callback):
    """Saves the learner after each of the epochs that were asked for, however it validates.

    Args:
        paths: mapping from the number of an epoch, from 1, to a `.keras` file.
    """

    def __init__(self, paths: Mapping[int, str]) -> None:
        super().__init__()
        self.paths = dict(paths)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        # An epoch that diverged ends early, and is no epoch.
        if epoch + 1 in self.paths and weight_not_finite(self.model) is None:
            save_whole(self.model, self.paths[epoch + 1])
