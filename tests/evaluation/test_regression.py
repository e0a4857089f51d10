"""Evaluating learners of numbers: each task's error, pairs, and what cannot be asked."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import pipeline
from data_pipelines.function_dataset import FunctionDataset
from data_pipelines.samplers import fixed_episode, open_set_episode, sinusoid_episode
from kfsl.backbones.mlp import MLP
from kfsl.evaluation.asked import asked
from kfsl.evaluation.calibrate import calibrate
from kfsl.evaluation.evaluate import EVALUATION_SEED, evaluate
from kfsl.experiment import Experiment
from kfsl.learners import MAML
from kfsl.objectives import Regression
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import paired_difference
from kfsl.runs.run_directory import RunDirectory
from tests.support.letters import prototypical_network

SAMPLER = functools.partial(sinusoid_episode, points=5, queries=7)


def experiment(seed: int = 0, numbers: int = 1) -> Experiment:
    keras.utils.set_random_seed(seed)
    learner = MAML(MLP((numbers,), hidden=(8,)), objective=Regression(1), steps=2, inner_rate=0.05)
    return Experiment(learner, FunctionDataset("sinusoids"), SAMPLER)


def test_errors_are_those_of_each_task_alone(tmp_path):
    sines = experiment()
    found = evaluate(sines, episodes=6, meta_batch=4)
    expected = []
    for number in range(6):
        episode, targets = pipeline.episode_at(
            sines.dataset, "test", SAMPLER, seed=EVALUATION_SEED, index=number
        )
        answers = sines.learner(episode)["predictions"]
        expected.append(float(tf.reduce_mean((answers - targets) ** 2)))
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.metric == "error"
    assert found.setting == "5 given, 7 asked"
    assert found.summary() == (
        f"test: 5 given, 7 asked, 6 episodes: error {found.mean:.4f} ± {found.interval:.4f}"
    )
    # Without batch normalisation nothing is shared between queries.
    assert (found.bn_policy, found.transductive) == ("none", False)
    found.save(tmp_path / "test.json")
    assert Evaluation.load(tmp_path / "test.json") == found
    assert '"errors": [' in (tmp_path / "test.json").read_text()


def test_pairs_and_their_words():
    first, second = (evaluate(experiment(seed), episodes=4) for seed in (0, 1))
    found = paired_difference(first, second)
    gaps = np.subtract(first.values, second.values)
    assert found.mean == pytest.approx(gaps.mean())
    assert "(less is better)" in found.summary()
    assert f"{gaps.mean():+.4f} ± " in found.summary()
    longer = evaluate(experiment(), episodes=10)
    assert longer.earlier_fingerprints == {"10": longer.episodes_fingerprint}


def test_other_tasks_are_no_pairs():
    first = evaluate(experiment(), episodes=4)
    more = evaluate(experiment(), episodes=4, seed=1)
    with pytest.raises(ValueError, match="seed"):
        paired_difference(first, more)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: evaluate(experiment(numbers=2), episodes=2),
         r"takes inputs of shape \(2,\), and those of these tasks are \(1,\).*MLP.image_shape"),
        (lambda: Experiment(prototypical_network(), FunctionDataset("sinusoids"), SAMPLER),
         "'sinusoids' has functions and no images, and PrototypicalNetwork tells classes"),
        (lambda: evaluate(
            Experiment(experiment().learner, FunctionDataset("sinusoids"), fixed_episode),
            episodes=2), "ways"),
    ],
    ids=["inputs", "classes", "sampler"],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_have_no_probabilities(tmp_path):
    sines, run = experiment(), RunDirectory(str(tmp_path))
    assert evaluate(sines, episodes=2).calibration == {}
    with pytest.raises(ValueError, match="answers with no classes: there are no probabilities"):
        calibrate(sines, evaluate, open_set_episode)
    with pytest.raises(ValueError, match=r"answers with numbers: .* leave --open_set out"):
        asked(run, sines, "test", "new", in_parts=False, unknown=open_set_episode)
