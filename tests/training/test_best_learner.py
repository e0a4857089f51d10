"""Which epoch's weights are the best, by an accuracy or by an error."""

import pytest

from kfsl.training.callbacks.best_learner import BestLearner
from tests.support import letters


@pytest.mark.parametrize(
    ("monitor", "larger", "best"), [("val_accuracy", True, 0.7), ("val_error", False, 0.2)]
)
def test_more_accuracy_and_less_error_are_better(tmp_path, monitor, larger, best):
    path = tmp_path / "best" / "learner.keras"
    callback = BestLearner(str(path), monitor=monitor, larger_is_better=larger)
    callback.set_model(letters.prototypical_network())
    saved = []
    for epoch, score in enumerate((0.5, 0.7, 0.2, 0.6)):
        before = path.stat().st_mtime_ns if path.exists() else None
        callback.on_epoch_end(epoch, {monitor: score})
        if path.stat().st_mtime_ns != before:
            saved.append(score)
    assert saved[-1] == best
    assert callback.best == (best if larger else -best)
