"""Curves of the leave-one-out subtasks over the updates of implants."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kfsl.analysis.compared_learners import with_settings
from kfsl.analysis.dense_classification.implant_updates import UpdatesOfImplants
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.episodes import EpisodeSpec
from kfsl.evaluation.evaluate import evaluate
from tests.support import dense_runs, letters

SEED = tf.constant([7, 3], tf.int64)


def test_the_last_update_is_where_adaptation_ends():
    learner = dense_runs.letters_implanting()
    episode, labels = EpisodeSpec(3, 3, 5, letters.SHAPE).random_episode()
    episode = {name: tf.constant(value) for name, value in episode.items()}
    labels = tf.constant(labels)
    subtasks, losses, answers = UpdatesOfImplants(learner).curves(episode, labels, SEED, [0, 4])
    assert len(subtasks) == len(losses) == learner.updates + 1
    assert losses[-1] < losses[0]
    for updates, answer in zip((0, 4), answers, strict=True):
        copy = with_settings(learner, updates=updates)
        support, queries = copy.embed_episode(episode, training=False)
        state = copy.adapt(support, episode["support_labels"], seed=SEED)
        predicted = np.argmax(copy.infer(state, queries)["logits"], -1)
        assert answer == pytest.approx(np.mean(predicted == labels.numpy()))


def test_subtasks_leave_one_image_out():
    learner = dense_runs.letters_implanting(updates=0)
    episode, labels = EpisodeSpec(2, 3, 1, letters.SHAPE).random_episode()
    episode = {name: tf.constant(value) for name, value in episode.items()}
    measured, _, _ = UpdatesOfImplants(learner).curves(episode, tf.constant(labels), SEED, [])
    support = learner.embed(episode["support_images"])
    seen = learner.implanted.see(support[0])
    implants = list(learner.implanted.start(SEED).values())
    vectors = np.asarray(learner.implanted.embed(seen, implants)).mean((1, 2))
    own = episode["support_labels"].numpy()[0]
    hits = []
    for left_out in range(6):
        rest = np.arange(6) != left_out
        means = [vectors[rest & (own == label)].mean(0) for label in (0, 1)]
        cosines = [mean @ vectors[left_out] / np.linalg.norm(mean) for mean in means]
        hits.append(np.argmax(cosines) == own[left_out])
    assert measured == [pytest.approx(np.mean(hits))]


def test_the_analysis_meets_the_episodes_of_an_evaluation(store, tmp_path):
    run = dense_runs.dense_run(str(tmp_path / "implanting"), store, kind="implanting")
    files = analyze("implant_updates", AnalysisRequest(run), episodes=6)
    with open(files[1], encoding="utf-8") as file:
        values = json.load(file)["runs"]["implanting"]
    from kfsl import configurables

    evaluation = evaluate(configurables.trained_experiment(run), episodes=6)
    assert values["asked"][-1] == 4
    assert values["query_accuracy"][-1] == pytest.approx(evaluation.mean, abs=1e-6)
    assert len(values["subtask_accuracy"]) == 5


def test_runs_without_implants_are_refused(store, tmp_path):
    run = dense_runs.dense_run(str(tmp_path / "dense"), store)
    with pytest.raises(ValueError, match="learns no implants"):
        analyze("implant_updates", AnalysisRequest(run))
