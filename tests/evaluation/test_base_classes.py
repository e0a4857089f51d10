"""Base classes asked about alone, and together with the new ones."""

import functools

import numpy as np
import pytest

from data_pipelines import pipeline
from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset
from data_pipelines.samplers import base_batch, fixed_episode
from kfsl.evaluation import base_classes
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.learners.dense_classification import DenseClassification
from tests.support import letters
from tests.support.backbones import two_blocks
from tests.support.contract import generic

EPISODES, SEED, HELD_OUT = 6, 3, 2


@pytest.fixture(scope="module")
def dataset(store):
    return FewShotDataset("letters", ClassStore.open(store), letters.SPLITS, HELD_OUT)


def experiment_on(dataset, learner=None):
    if learner is None:
        backbone = two_blocks(letters.SHAPE, filters=4, bn_momentum=0.9)
        learner = generic(DenseClassification(backbone, base_classes=5, reading="average"))
    sampler = functools.partial(fixed_episode, ways=3, shots=1, queries=2)
    return Experiment(
        learner=learner,
        dataset=dataset,
        sampler=functools.partial(base_batch, batch_size=10),
        evaluation_sampler=sampler,
    )


@pytest.fixture(scope="module")
def experiment(dataset):
    return experiment_on(dataset)


def by_hand(experiment, count):
    """Accuracy of each episode, from its images, one after the other."""
    learner, accuracies = experiment.learner, []
    base = functools.partial(base_batch, batch_size=count)
    for i in range(EPISODES):
        episode, labels = pipeline.episode_at(
            experiment.dataset, "test", experiment.evaluation_sampler, seed=SEED, index=i
        )
        batch, ids = pipeline.episode_at(experiment.dataset, "base_test", base, SEED, i)
        support = learner.embed(episode["support_images"])
        state = learner.adapt(support, episode["support_labels"])
        hits = []
        for images, expected in (
            (batch["query_images"], ids),
            (episode["query_images"], labels + learner.base_classes),
        ):
            logits = learner.classify_jointly(state, learner.embed(images))["logits"]
            hits.append(np.argmax(logits, axis=-1) == expected)
        accuracies.append(np.mean(np.concatenate(hits, axis=-1)))
    return accuracies


@pytest.mark.parametrize("memory", [0, 2**30], ids=["images", "features"])
def test_both_are_told_apart_among_all(experiment, memory):
    count = base_classes.queries(experiment, "test")
    assert count == 6  # As many as an episode has of its own.
    found = evaluate(
        experiment, episodes=EPISODES, seed=SEED, feature_memory=memory, base_queries=count,
        meta_batch=2,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, by_hand(experiment, count))
    assert len(set(found.values)) > 1
    assert found.setting == "3-way 1-shot and 5 base classes"
    assert found.name == "test_and_base"
    assert (found.ways, found.shots, found.queries) == (3, 1, 2)
    names = experiment.dataset.split("train").class_names
    base = {name: asked for name, (_, asked) in found.classes.items() if name in names}
    assert sum(base.values()) == EPISODES * count
    assert sum(asked for _, asked in found.classes.values()) == 2 * EPISODES * count
    # Confusions go either way, under the classes' own names.
    confused = {(true in names, other in names) for true, other, *_ in found.confusions}
    assert len(confused) > 1


def test_other_episodes_of_both_have_another_fingerprint(experiment):
    alone = evaluate(experiment, episodes=4)
    both = evaluate(experiment, episodes=4, base_queries=3)
    assert alone.base_classes == 0
    assert both.base_classes == 5
    assert alone.episodes_fingerprint != both.episodes_fingerprint


def test_base_classes_alone_are_batches_of_held_out_images(experiment):
    asked = base_classes.asked_alone(experiment)
    found = evaluate(asked, split="base_test", episodes=3)
    assert found.setting == "5 base classes"
    assert found.classes.keys() == set(experiment.dataset.split("train").class_names)
    # Two held-out images of each of five classes, all in each batch.
    assert [asked for _, asked in found.classes.values()] == [3 * HELD_OUT] * 5


def test_a_learner_without_base_classes_is_refused(dataset):
    experiment = experiment_on(dataset, letters.prototypical_network())
    with pytest.raises(ValueError, match="PrototypicalNetwork keeps no base classes"):
        evaluate(experiment, episodes=2, base_queries=2)


def test_images_must_be_held_out(store):
    experiment = experiment_on(letters.letters(store))
    with pytest.raises(ValueError, match=r"base_test.*held_out_images"):
        base_classes.asked_alone(experiment)
