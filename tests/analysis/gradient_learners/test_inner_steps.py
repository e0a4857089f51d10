"""Accuracy and support loss over inner steps."""

import json

import numpy as np
import pytest

from kfsl.analysis.compared_learners import gradient_learners, with_settings
from kfsl.analysis.gradient_learners.inner_steps import (
    default_steps,
    measured_over_steps,
    step_numbers,
)
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluation.evaluate import EVALUATION_SEED, evaluate
from tests.support import gradient_runs, letters


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    store = str(folder / "letters")
    letters.write_letters(store)
    return [
        gradient_runs.maml_run(str(folder / name), store, steps=2, seed=seed)
        for seed, name in enumerate(("first", "second"))
    ]


def test_each_number_of_steps_gives_what_an_evaluation_gives(runs):
    options = {"levels": (0, 1, 3), "episodes": 5, "split": "val"}
    _, path = analyze("inner_steps", AnalysisRequest(runs[0]), compare=(runs[1],), **options)
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert values["steps"] == [0, 1, 3]
    assert (values["episodes"], values["seed"]) == (5, EVALUATION_SEED)
    experiment, learners = gradient_learners(AnalysisRequest(runs[0]), (runs[1],), "test")
    for (path, learner), place in zip(learners.items(), (2, 0), strict=True):
        found = values["runs"][path]
        experiment.learner = with_settings(learner, evaluation_steps=values["steps"][place])
        expected = evaluate(experiment, split="val", episodes=5)
        assert found["accuracy"][place] == pytest.approx(expected.mean, abs=1e-9)
        assert found["interval"][place] == pytest.approx(expected.interval, abs=1e-9)
        assert len(found["support_loss"]) == 4
        assert found["support_loss"][0] > found["support_loss"][1] > found["support_loss"][3]
    first, second = (values["runs"][run.path] for run in runs)
    gaps = np.subtract(second["accuracy"], first["accuracy"])
    assert second["against_first"]["mean"] == pytest.approx(gaps)


def test_the_loss_after_a_step_is_that_of_the_adapted_weights(runs):
    experiment, learners = gradient_learners(AnalysisRequest(runs[0]), (), "test")
    (learner,) = learners.values()
    arguments = {"split": "val", "episodes": 1, "seed": 3}
    _, losses = measured_over_steps(experiment, learner, [2], **arguments)
    assert losses.shape == (1, 3)
    from data_pipelines import pipeline

    episode, _ = pipeline.episode_at(
        experiment.dataset, "val", experiment.evaluation_sampler, seed=3, index=0
    )
    images, labels = episode["support_images"], episode["support_labels"][0]
    state = learner.adapt(images, labels[None], steps=2)
    # The support set as queries: with the policy `batch`, its own moments normalise it.
    logits = learner.infer(state, images)["logits"][0].numpy()
    wanted = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    assert losses[0, 2] == pytest.approx(wanted.mean(), rel=1e-5)


def test_defaults_cover_the_steps_that_learners_take(runs):
    _, learners = gradient_learners(AnalysisRequest(runs[0]), (), "test")
    (learner,) = learners.values()
    assert default_steps([learner]) == [0, 1, 2, 3, 4, 5]
    many = default_steps([learner, with_settings(learner, evaluation_steps=100)])
    assert many == list(range(0, 101, 10))


@pytest.mark.parametrize("level", [-1.0, 0.5])
def test_bad_numbers_of_steps_are_named(level):
    with pytest.raises(ValueError, match=f"integer from 0; received {level:g}"):
        step_numbers([1.0, level])
