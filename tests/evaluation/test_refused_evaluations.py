"""What evaluation refuses, before or while it runs."""

import functools

import pytest

from data_pipelines.samplers import fixed_episode
from kfsl.evaluation.evaluate import evaluate
from kfsl.learners.prototypical_network import PrototypicalNetwork
from tests.support import letters


@pytest.fixture(scope="module")
def experiment(store):
    return letters.experiment(store)


def test_refuses_what_cannot_be_evaluated(store, experiment):
    with pytest.raises(ValueError, match="no split 'other'"):
        evaluate(experiment, split="other")
    many_ways = letters.experiment(
        store, sampler=functools.partial(fixed_episode, ways=6, shots=1, queries=1)
    )
    with pytest.raises(ValueError, match="6 ways asked of split 'test', which has 5"):
        evaluate(many_ways, episodes=2)


def test_refuses_more_ways_than_the_learner_has(store):
    learner = letters.prototypical_network(ways=2)
    with pytest.raises(ValueError, match="made for 2 ways and the episodes have 3"):
        evaluate(letters.experiment(store, learner=learner), episodes=2)


def test_refuses_weights_that_are_not_numbers(store):
    learner = letters.prototypical_network()
    first = learner.trainable_weights[0]
    first.assign(first * float("nan"))
    with pytest.raises(ValueError, match=rf"{first.path} is not finite"):
        evaluate(letters.experiment(store, learner=learner), episodes=2)


class Undefined(PrototypicalNetwork):
    def classify(self, state, query_features, training):
        outputs = super().classify(state, query_features, training)
        return {"logits": outputs["logits"] * float("nan")}


@pytest.mark.parametrize("feature_memory", [0, 2**30])
def test_refuses_logits_that_are_not_numbers(store, feature_memory):
    learner = Undefined(letters.prototypical_network().backbone)
    with pytest.raises(ValueError, match=r"outputs of episode 0, .* are not numbers"):
        evaluate(
            letters.experiment(store, learner=learner),
            episodes=18,
            feature_memory=feature_memory,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 1}, "evaluate.episodes must be a whole number of at least 2; received 1"),
        ({"episodes": 10.5}, "evaluate.episodes must be a whole number of at least 2"),
        ({"seed": 1.5}, "evaluate.seed must be a whole number"),
        ({"seed": "x"}, "evaluate.seed must be a whole number .*received 'x'"),
        ({"meta_batch": 1.5}, "evaluate.meta_batch must be a whole number of at least 1"),
        ({"meta_batch": 0}, "evaluate.meta_batch must be a whole number of at least 1; received 0"),
        ({"base_queries": 0.5}, "evaluate.base_queries must be a whole number"),
        ({"feature_memory": "x"}, "evaluate.feature_memory must be a number of at least 0"),
    ],
)
def test_an_argument_out_of_range_is_named(experiment, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(experiment, **arguments)
