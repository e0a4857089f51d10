"""Accuracy over episodes and its interval."""

import numpy as np

from kfsl.metrics.episode_accuracy import EpisodeAccuracy


def logits_with_accuracies(accuracies, queries=20):
    """Two-way logits whose episodes have the given accuracies for labels of zeros."""
    hits = np.arange(queries)[None] < np.round(np.array(accuracies)[:, None] * queries)
    return np.where(hits[..., None], [1.0, 0.0], [0.0, 1.0]).astype("float32")


def test_mean_and_interval_over_episodes():
    accuracies = np.random.default_rng(0).integers(0, 21, 11) / 20
    logits = logits_with_accuracies(accuracies)
    metric = EpisodeAccuracy()
    for start in range(0, 11, 4):  # Meta-batches of 4, 4 and 3.
        chunk = logits[start : start + 4]
        metric.update_state(np.zeros(chunk.shape[:2], "int32"), chunk)
    result = metric.result()
    np.testing.assert_allclose(result["accuracy"], accuracies.mean(), rtol=1e-6)
    interval = 1.96 * accuracies.std(ddof=1) / np.sqrt(11)
    np.testing.assert_allclose(result["accuracy_interval"], interval, rtol=1e-5)


def test_one_episode_has_no_spread():
    metric = EpisodeAccuracy()
    metric.update_state(np.zeros((1, 20), "int32"), logits_with_accuracies([0.5]))
    assert float(metric.result()["accuracy_interval"]) == 0.0


def test_a_result_does_not_change_when_the_metric_does():
    metric = EpisodeAccuracy()
    metric.update_state(np.zeros((1, 20), "int32"), logits_with_accuracies([0.5]))
    result = metric.result()
    metric.reset_state()
    assert float(result["accuracy"]) == 0.5
