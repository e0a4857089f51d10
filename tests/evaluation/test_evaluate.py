"""Evaluation on fixed episodes."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import pipeline
from data_pipelines.samplers import variable_episode
from kfsl.evaluation import evaluate as evaluation
from kfsl.evaluation import streams
from kfsl.evaluation.evaluate import evaluate
from kfsl.evaluation.split_features import embed_split
from kfsl.evaluation.tally import EvaluationTally
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import paired_difference
from tests.support import letters

EPISODES = 18


@pytest.fixture(scope="module")
def experiment(store):
    return letters.experiment(store)


@pytest.fixture(scope="module")
def found(experiment):
    return evaluate(experiment, episodes=EPISODES)


def one_by_one(experiment, split="test", episodes=EPISODES):
    """Labels, predictions and classes of each episode, without any of evaluation's code."""
    for index in range(episodes):
        episode, labels = pipeline.episode_at(
            experiment.dataset,
            split,
            experiment.evaluation_sampler,
            seed=evaluation.EVALUATION_SEED,
            index=index,
        )
        logits = experiment.learner(episode, training=False)["logits"]
        yield episode, labels.numpy()[0], np.argmax(logits.numpy()[0], axis=-1)


def test_accuracies_are_those_of_each_episode_alone(experiment, found):
    expected = [np.mean(labels == predicted) for _, labels, predicted in one_by_one(experiment)]
    assert found.values == expected
    assert len(set(expected)) > 2, "the episodes must differ, or the test says little"
    assert found.mean == pytest.approx(np.mean(expected), abs=1e-12)
    interval = 1.96 * np.std(expected, ddof=1) / np.sqrt(EPISODES)
    assert found.interval == pytest.approx(interval, abs=1e-12)


def test_classes_and_confusions_are_counted_by_name(experiment, found):
    names = experiment.dataset.split("test").class_names
    correct, asked, confused, met = {}, {}, {}, {}
    for episode, labels, predicted in one_by_one(experiment):
        support = episode["support_classes"].numpy()[0]  # One shot: the class of each label.
        for label, guess in zip(labels, predicted, strict=True):
            true, taken_for = names[support[label]], names[support[guess]]
            asked[true] = asked.get(true, 0) + 1
            correct[true] = correct.get(true, 0) + (label == guess)
            if label != guess:
                confused[true, taken_for] = confused.get((true, taken_for), 0) + 1
            for other in support:
                met[true, names[other]] = met.get((true, names[other]), 0) + 1
    assert found.classes == {name: [correct[name], asked[name]] for name in sorted(asked)}
    rows = {(true, other): (times, posed) for true, other, times, posed in found.confusions}
    assert rows == {pair: (times, met[pair]) for pair, times in confused.items()}
    counts = [row[2] for row in found.confusions]
    assert counts == sorted(counts, reverse=True)


def test_only_the_most_frequent_confusions_are_kept(experiment, found):
    tally = EvaluationTally(experiment.dataset.split("test").class_names)
    for episode, labels, predicted in one_by_one(experiment):
        arrays = {name: tensor.numpy() for name, tensor in episode.items()}
        tally.add(arrays, labels[None], np.eye(labels.max() + 1)[predicted[None]])
    assert tally.confusions() == found.confusions
    assert tally.confusions(limit=2) == found.confusions[:2]


@pytest.mark.parametrize("meta_batch", [1, 5])
@pytest.mark.parametrize("feature_memory", [0, 2**30])
def test_meta_batch_and_features_change_nothing(experiment, found, meta_batch, feature_memory):
    other = evaluate(
        experiment, episodes=EPISODES, meta_batch=meta_batch, feature_memory=feature_memory
    )
    assert other.values == found.values
    assert other.confusions == found.confusions
    assert other.episodes_fingerprint == found.episodes_fingerprint


@pytest.fixture
def embeddings(monkeypatch):
    """Splits that were embedded as a whole."""
    splits = []

    def recorded(learner, dataset, split):
        splits.append(split)
        return embed_split(learner, dataset, split)

    monkeypatch.setattr(streams, "embed_split", recorded)
    return splits


def test_features_are_kept_where_that_saves_work(experiment, embeddings):
    test = experiment.dataset.split("test")
    whole = test.num_images // 15 + 1  # Episodes of 15 images until a split is outnumbered.
    evaluate(experiment, episodes=whole - 1)
    assert embeddings == []
    evaluate(experiment, episodes=whole)
    assert embeddings == ["test"]
    bytes_of_all = test.num_images * 2 * 2 * 4 * 4  # 2 x 2 x 4 floats.
    evaluate(experiment, episodes=whole, feature_memory=bytes_of_all - 1)
    assert embeddings == ["test"]
    evaluate(experiment, episodes=whole, feature_memory=bytes_of_all)
    assert embeddings == ["test", "test"]


@pytest.mark.parametrize("policy", ["support", "batch"])
def test_policies_of_the_episode_embed_by_episode(store, embeddings, policy):
    learner = letters.prototypical_network(bn_policy=policy)
    experiment = letters.experiment(store, learner=learner)
    found = evaluate(experiment, episodes=EPISODES)
    assert embeddings == []
    assert found.bn_policy == policy
    assert found.transductive == (policy == "batch")
    assert found.to_json()["inductive"] == (policy == "support")
    expected = [np.mean(labels == predicted) for _, labels, predicted in one_by_one(experiment)]
    assert found.values == expected


def test_logits_from_features_are_those_from_images(experiment):
    source = embed_split(experiment.learner, experiment.dataset, "test")
    seed = tf.constant([0, 0], tf.int64)
    for index in range(3):
        arguments = ("test", experiment.evaluation_sampler, 7, index)
        images, _ = pipeline.episode_at(experiment.dataset, *arguments)
        features, _ = pipeline.episode_at(source, *arguments)
        plain = evaluation.compiled_prediction(experiment.learner)(images, seed)
        ahead = evaluation.compiled_prediction(experiment.learner, embedded=True)(features, seed)
        np.testing.assert_allclose(ahead, plain, rtol=1e-5, atol=1e-5)


def test_padded_episodes(store):
    sampler = functools.partial(
        variable_episode, min_ways=2, max_ways=4, min_shots=1, max_shots=2, total_queries=12
    )
    padded = letters.experiment(store, sampler=functools.partial(sampler))
    found = evaluate(padded, episodes=EPISODES)
    assert found.ways == [2, 4]
    assert found.shots == [1, 2]
    assert found.queries == [3, 6]
    assert found.setting == "2-4-way 1-2-shot"
    expected = [np.mean(labels == predicted) for _, labels, predicted in one_by_one(padded)]
    assert found.values == expected
    assert evaluate(padded, episodes=EPISODES, feature_memory=0).values == expected


def test_superclass_labels_do_not_hide_the_classes(store, found):
    by_superclass = dataclasses.replace(letters.experiment(store), label_level="superclass")
    assert evaluate(by_superclass, episodes=EPISODES).classes == found.classes


def test_reads_the_split_that_is_asked_for_only(experiment, monkeypatch):
    asked = []
    original = type(experiment.dataset).split

    def recorded(self, name):
        asked.append(name)
        return original(self, name)

    monkeypatch.setattr(type(experiment.dataset), "split", recorded)
    evaluate(experiment, split="val", episodes=EPISODES)
    assert set(asked) == {"val"}


def test_what_a_result_records(experiment, found):
    assert (found.ways, found.shots, found.queries) == (3, 1, 4)
    assert found.dataset == "letters"
    assert found.dataset_fingerprint == experiment.dataset.fingerprint
    assert found.learner == "PrototypicalNetwork"
    assert found.bn_policy == "running"
    assert not found.transductive
    assert found.seed == evaluation.EVALUATION_SEED
    assert {"versions", "commit", "machine"} <= set(found.environment)
    assert found.summary() == (
        f"test: 3-way 1-shot, {EPISODES} episodes: "
        f"{100 * found.mean:.2f} ± {100 * found.interval:.2f} %"
    )


def test_json_round_trip(found, tmp_path):
    path = str(tmp_path / "evaluation" / "test.json")
    found.save(path)
    assert Evaluation.load(path) == found
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert values["mean"] == found.mean
    assert values["episodes"] == EPISODES


def test_files_that_hold_no_evaluation(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"kfsl\.evaluate writes it"):
        Evaluation.load(str(tmp_path / "none.json"))
    for text in ("{", "[]", '{"split": "test"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json' is damaged .*delete it"):
            Evaluation.load(str(tmp_path / "bad.json"))


def with_accuracies(found, accuracies):
    return dataclasses.replace(found, values=accuracies)


def test_paired_difference_against_arithmetic(found):
    first = with_accuracies(found, [0.9, 0.5, 0.7, 0.8])
    second = with_accuracies(found, [0.8, 0.5, 0.5, 0.7])
    difference = paired_difference(first, second)
    # Differences 0.1, 0, 0.2, 0.1: mean 0.1, sample variance 0.02 / 3.
    assert difference.mean == pytest.approx(0.1)
    assert difference.interval == pytest.approx(1.96 * (0.02 / 3 / 4) ** 0.5)
    assert difference.episodes == 4
    assert difference.interval < first.interval
    assert "+10.00" in difference.summary()
    assert "chance" not in difference.summary()
    assert "no difference beyond chance" in paired_difference(first, first).summary()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split", "val"),
        ("seed", 1),
        ("ways", 4),
        ("shots", 2),
        ("queries", 5),
        ("dataset_fingerprint", "other"),
        ("episodes_fingerprint", "other"),
        ("values", [0.5, 1.0]),
    ],
)
def test_pairs_need_the_same_episodes(found, field, value):
    other = dataclasses.replace(found, **{field: value})
    name = "episodes" if field == "values" else field
    with pytest.raises(ValueError, match=rf"same episodes.* {name} \("):
        paired_difference(found, other)


def test_a_short_evaluation_is_paired_with_the_beginning_of_a_longer_one(store, found):
    experiment = letters.experiment(store, learner=letters.prototypical_network(seed=5))
    longer = evaluate(experiment, episodes=20)
    shorter = evaluate(experiment, episodes=10)
    difference = paired_difference(shorter, longer)
    assert (difference.mean, difference.episodes) == (0.0, 10)
    other = evaluate(experiment, episodes=10, seed=found.seed + 1)
    unlike = dataclasses.replace(other, seed=longer.seed)
    with pytest.raises(ValueError, match=r"same episodes.* episodes_fingerprint \("):
        paired_difference(unlike, longer)
    # What the first nine were is not kept.
    with pytest.raises(ValueError, match=r"same episodes.* episodes \(9 and 20\)"):
        paired_difference(with_accuracies(shorter, shorter.values[:9]), longer)


def test_other_learners_meet_the_same_episodes(store, found):
    other = letters.experiment(store, learner=letters.prototypical_network(seed=5))
    second = evaluate(other, episodes=EPISODES)
    assert second.values != found.values
    assert second.episodes_fingerprint == found.episodes_fingerprint
    assert paired_difference(found, second).episodes == EPISODES
