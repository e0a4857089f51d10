"""Accuracy under noise on the inner gradients."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from kfsl.analysis.compared_learners import gradient_learners, with_settings
from kfsl.analysis.gradient_learners.noise import standard_deviations
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluation.evaluate import evaluate
from tests.support import gradient_runs, letters


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        gradient_runs.maml_run(str(folder / name), store, steps=1, seed=seed)
        for seed, name in enumerate(("first", "second"))
    ]


def test_accuracies_of_two_runs_on_the_same_episodes(runs):
    options = {"levels": (0.0, 100.0), "episodes": 12, "split": "val"}
    request = AnalysisRequest(runs[0])
    picture, path = analyze("gradient_noise", request, compare=(runs[1],), **options)
    assert os.path.basename(picture) == "gradient_noise_val.png"
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert (values["levels"], values["scale"]) == ([0.0, 100.0], "std")

    experiment, learners = gradient_learners(request, (runs[1],), "test")
    assert list(learners) == [run.path for run in runs]
    for i, (path, learner) in enumerate(learners.items()):
        experiment.learner = learner
        found = values["runs"][path]
        if not i:  # Without noise it is the evaluation, to the last bit.
            clean = evaluate(experiment, split="val", episodes=12)
            assert (found["accuracy"][0], found["interval"][0]) == (clean.mean, clean.interval)
        assert found["change"][0] == {"mean": 0.0, "interval": 0.0}
        change = found["accuracy"][1] - found["accuracy"][0]
        assert found["change"][1]["mean"] == pytest.approx(change)
        assert change < 0  # Weights lost in noise guess.
        if i:
            first = values["runs"][runs[0].path]["accuracy"]
            gaps = [gap["mean"] for gap in found["against_first"]]
            assert gaps == pytest.approx(np.subtract(found["accuracy"], first))


def test_noise_has_the_deviation_it_says_and_leaves_the_learner_alone(runs):
    _, learners = gradient_learners(AnalysisRequest(runs[0]), (), "test")
    learner = learners[runs[0].path]
    before = learner.get_weights()
    noisy = with_settings(learner, gradient_noise=0.3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, *letters.SHAPE)).astype("uint8")
    seed = tf.constant([12345, 7], tf.int64)
    clean_state, _ = learner.adapt_task(images, np.arange(3), seed=seed)
    states = [noisy.adapt_task(images, np.arange(3), seed=seed)[0] for _ in range(2)]
    moved = [
        np.ravel((states[0][key] - clean_state[key]) / learner.inner_rate)
        for key in learner.adapted_network.keys
    ]
    assert np.std(np.concatenate(moved)) == pytest.approx(0.3, rel=0.05)
    for key in learner.adapted_network.keys:
        np.testing.assert_array_equal(states[0][key], states[1][key])
    assert learner.gradient_noise == 0.0
    for old, new, copied in zip(before, learner.get_weights(), noisy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
        np.testing.assert_array_equal(old, copied)


def test_the_paper_s_levels_are_variances():
    assert standard_deviations([0.0, 0.04], "variance") == pytest.approx([0.0, 0.2])
    with pytest.raises(ValueError, match="scale of noise is one of"):
        standard_deviations([0.0], "sigma")


@pytest.mark.parametrize("level", [-0.1, float("inf"), float("nan")])
def test_bad_levels_are_named(level):
    with pytest.raises(ValueError, match=f"at least 0; received {level:g}"):
        standard_deviations([0.0, level], "std")


def test_learners_without_inner_steps_are_refused(runs, store, tmp_path):
    other = letters.trained_run(str(tmp_path / "prototypes"), store)
    with pytest.raises(ValueError, match="prototypes' has a PrototypicalNetwork, which takes no"):
        analyze("gradient_noise", AnalysisRequest(runs[0]), compare=(other,))
