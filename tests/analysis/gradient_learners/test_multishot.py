"""Loss and accuracy over a long inner loop, over alphabets."""

import dataclasses
import functools
import json
import math

import numpy as np
import pytest

from data_pipelines import pipeline
from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset
from data_pipelines.samplers import alphabet_episode, fixed_episode
from kfsl.analysis.gradient_learners.multishot import (
    default_levels,
    multishot_figure,
    multishot_values,
    task_names,
)
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluate import evaluate_run
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.learners.reptile import Reptile
from kfsl.runs.trained_run import stored_evaluation
from tests.support import gradient_runs, letters

ALPHABETS = """
Experiment.sampler = @alphabet_episode
Experiment.evaluation_sampler = @alphabet_episode
alphabet_episode.ways = %WAYS
alphabet_episode.shots = 4
alphabet_episode.queries = 2
alphabet_episode.affine = 'queries'
"""


@pytest.fixture(scope="module")
def experiment(store):
    """Three superclasses in one split."""
    return Experiment(
        learner=Reptile(
            gradient_runs.letters_maml().backbone,
            ways=3,
            steps=2,
            evaluation_steps=3,
            inner_batch=6,
            inner_optimizer="sgd",
            inner_rate=0.1,
            bn_policy="support",
        ),
        dataset=FewShotDataset("letters", ClassStore.open(store), {"test": list(range(15))}),
        sampler=functools.partial(alphabet_episode, ways=3, shots=4, queries=2),
    )


def test_each_round_of_episodes_has_each_alphabet_once(experiment):
    names = task_names(experiment, "test", 9, seed=0)
    assert all(sorted(names[i : i + 3]) == ["s0", "s1", "s2"] for i in (0, 3, 6))
    for index in (0, 5):
        episode, _ = pipeline.episode_at(
            experiment.dataset, "test", experiment.evaluation_sampler, seed=0, index=index
        )
        classes = experiment.dataset.split("test")
        found = {classes.superclasses[i] for i in episode["support_classes"].numpy()[0]}
        assert [classes.superclass_names[i] for i in found] == [names[index]]


def test_tasks_of_several_alphabets_are_refused(experiment):
    sampler = functools.partial(fixed_episode, ways=5, shots=1, queries=1)
    mixed = dataclasses.replace(experiment, evaluation_sampler=sampler)
    with pytest.raises(ValueError, match=r"has classes of s0 and s1\. Bind a sampler that draws"):
        task_names(mixed, "test", 4, seed=0)


def test_means_and_intervals_are_over_alphabets(experiment):
    values = multishot_values(
        experiment, {"a": experiment.learner}, [0, 3], split="test", seed=1, episodes=6
    )
    run = values["runs"]["a"]
    assert values["tasks"] == ["s0", "s1", "s2"]
    names = np.array(task_names(experiment, "test", 6, seed=1))
    accuracies = np.array(evaluate(experiment, episodes=6, seed=1).values)
    of_tasks = [accuracies[names == name].mean() for name in values["tasks"]]
    assert list(run["final_accuracy_of"].values()) == pytest.approx(of_tasks)
    assert run["final_accuracy"] == run["accuracy"][1] == pytest.approx(np.mean(of_tasks))
    half = 1.96 * np.std(of_tasks, ddof=1) / math.sqrt(3)
    assert run["final_interval"] == run["interval"][1] == pytest.approx(half)
    # One loss before each step.
    assert len(run["training_loss"]) == 3
    assert run["area_under_loss"] == pytest.approx(np.mean(run["training_loss"]))
    assert run["area_interval"] > 0
    left, right = multishot_figure(values).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), run["training_loss"])
    np.testing.assert_allclose(right.lines[0].get_ydata(), run["accuracy"])


def test_defaults(experiment):
    assert default_levels([experiment.learner]) == [0, 1, 2, 3]
    long = dataclasses.make_dataclass("Learner", ["default_steps"])(100)
    assert default_levels([experiment.learner, long]) == [0, 5, 10, 25, 50, 75, 100]
    values = multishot_values(experiment, {}, [0], split="test", seed=0)
    assert values["episodes"] == 9


def test_runs_are_evaluated_and_compared(store, tmp_path):
    runs = []
    for seed, name in enumerate(("first", "second")):
        run = letters.trained_run(
            str(tmp_path / name), store, extra=gradient_runs.EXTRA.format(steps=1) + ALPHABETS
        )
        gradient_runs.letters_maml(1, seed).save(run.best_learner)
        runs.append(run)
    evaluate_run(runs[0], "test", episodes=3)
    evaluation = stored_evaluation(runs[0], "test")
    assert (evaluation.ways, evaluation.shots, evaluation.queries) == (3, 4, 2)
    options = {"compare": (runs[1],), "levels": (0, 1), "episodes": 3}
    picture, path = analyze("multishot", AnalysisRequest(runs[0]), **options)
    assert picture.endswith("multishot_test.png")
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert set(values["runs"]) == {run.path for run in runs}
    first = values["runs"][runs[0].path]
    assert first["final_accuracy"] == pytest.approx(evaluation.mean)
