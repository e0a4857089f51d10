"""Calibration on validation episodes, and open-set episodes in an evaluation."""

import functools
import json
import os

import numpy as np
import pytest

from data_pipelines import pipeline
from data_pipelines.samplers import fixed_episode, open_set_episode
from kfsl.calibration.ranking import auroc
from kfsl.calibration.record import Calibration
from kfsl.calibration.softmax import log_probabilities
from kfsl.evaluate import calibrate_run, evaluate_run
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.runs.evaluation_record import Evaluation
from tests.support import letters
from tests.support.refusals import refusal

EPISODES = 10


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """A run that was evaluated, calibrated and evaluated again, and what the commands said."""
    # Of five classes an episode leaves three.
    path = str(tmp_path_factory.mktemp("runs") / "run")
    run = letters.trained_run(path, store, extra="WAYS = 2\n")
    said = {"before": evaluate_run(run, "test", EPISODES, open_set=True)}
    before = Evaluation.load(run.evaluation_path("test_open_set"))
    said["calibrate"] = calibrate_run(run, EPISODES)
    said["after"] = evaluate_run(run, "test", EPISODES, open_set=True)
    said["closed"] = evaluate_run(run, "test", EPISODES)
    return run, before, said


def one_by_one(store, split):
    """Logits and labels of each open-set episode, without any of evaluation's code."""
    learner, dataset = letters.prototypical_network(), letters.letters(store)
    known = functools.partial(fixed_episode, ways=2, queries=4)
    sampler = functools.partial(open_set_episode, known=known)
    for index in range(EPISODES):
        episode, labels = pipeline.episode_at(dataset, split, sampler, EVALUATION_SEED, index)
        yield learner(episode, training=False)["logits"].numpy()[0], labels.numpy()[0]


def loaded(run):
    return Calibration.load(run.calibration_path)


def test_temperature_and_threshold_are_fitted_on_validation_classes(made, store):
    run, _, said = made
    found = loaded(run)
    assert (found.split, found.episodes, found.ways, found.shots) == ("val", EPISODES, 2, 1)
    logits, labels = map(np.concatenate, zip(*one_by_one(store, "val"), strict=True))
    known = labels >= 0
    places = np.flatnonzero(known), labels[known]

    def nll(temperature):
        return -np.mean(log_probabilities(logits, temperature)[places])

    # Logits differ by rounding from those of features that were kept.
    assert found.before["nll"] == pytest.approx(nll(1.0), rel=1e-5)
    assert found.after["nll"] == pytest.approx(nll(found.temperature), rel=1e-5)
    # One query in 81 is imagined, whose class is any.
    for factor in (0.7, 1.4):
        assert nll(found.temperature) < nll(found.temperature * factor)
    assert found.after["nll"] < found.before["nll"]
    rejection = found.rejection
    scores = {
        "max_logit": (logits / found.temperature).max(axis=1),
        "max_probability": np.exp(log_probabilities(logits, found.temperature)).max(axis=1),
    }
    for name, values in scores.items():
        pooled = rejection["auroc"][name]["pooled"][0]
        assert pooled == pytest.approx(auroc(values[known], values[~known]), abs=2e-3)
    best = max(rejection["auroc"], key=lambda name: rejection["auroc"][name]["pooled"][0])
    assert rejection["score"] == best
    # Of 80 known queries the four lowest: a twentieth of 81, rounded down.
    assert rejection["rates"]["known_accepted"][0] == pytest.approx(77 / 80)
    assert said["calibrate"][0].startswith(f"temperature {found.temperature:.4g}, fitted on 10 ")
    assert said["calibrate"][-1] == f"written to {run.calibration_path}"


def test_unknown_queries_leave_the_known_ones_as_they_are(made):
    run, before, _ = made
    closed = Evaluation.load(run.evaluation_path("test"))
    assert before.values == closed.values
    assert len(set(closed.values)) > 2
    assert before.episodes_fingerprint == closed.episodes_fingerprint
    assert before.classes == closed.classes
    assert before.confusions == closed.confusions
    beside, alone = before.calibration["raw"], closed.calibration["raw"]
    assert beside.keys() == alone.keys()
    for name, numbers in alone.items():
        # In another batch a processor may round an image's logits otherwise.
        found, expected = (np.asarray(values, float) for values in (beside[name], numbers))
        np.testing.assert_allclose(found, expected, rtol=1e-7, err_msg=name)
    assert closed.open_set == {}


def test_auroc_is_that_of_each_episode(made, store):
    _, before, said = made
    expected = []
    for logits, labels in one_by_one(store, "test"):
        scores = logits.max(axis=1)
        expected.append(auroc(scores[labels >= 0], scores[labels < 0]))
    found = before.open_set["auroc"]["max_logit"]
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-6)
    half = 1.96 * np.std(expected, ddof=1) / np.sqrt(EPISODES)
    assert found["interval"] == pytest.approx(half, abs=1e-6)
    assert before.open_set["unknown_ways"] == 3
    assert before.open_set["unknown_queries"] == 12
    assert before.open_set["rates"] is None
    assert any("no threshold is fitted" in line for line in said["before"])


def test_an_evaluation_says_what_the_calibration_makes_of_it(made, store):
    run, before, said = made
    found, fitted = Evaluation.load(run.evaluation_path("test_open_set")), loaded(run)
    assert before.calibration.keys() == {"raw"}
    assert found.calibration["raw"] == before.calibration["raw"]
    assert found.calibration["temperature"] == fitted.temperature
    logits, labels = map(np.concatenate, zip(*one_by_one(store, "test"), strict=True))
    known = labels >= 0
    scaled = log_probabilities(logits[known], fitted.temperature)
    nll = -np.mean(scaled[np.arange(known.sum()), labels[known]])
    assert found.calibration["scaled"]["nll"] == pytest.approx(nll, rel=1e-5)
    rejection = fitted.rejection
    assert found.open_set["score"] == rejection["score"]
    assert found.open_set["threshold"] == rejection["threshold"]
    assert found.open_set["rates"].keys() == rejection["rates"].keys()
    assert any(f"at temperature {fitted.temperature:.4g}: " in line for line in said["closed"])
    assert found.values == before.values


def test_parts_of_an_open_set_evaluation_merge_to_the_whole(made, tmp_path):
    run, _, _ = made
    whole = Evaluation.load(run.evaluation_path("test_open_set"))
    for place in (1, 0):
        evaluate_run(run, "test", EPISODES, shard=(place, 2), open_set=True)
    lines = evaluate_run(run, "test", merge=True, open_set=True)
    merged = Evaluation.load(run.evaluation_path("test_open_set"))
    assert merged.open_set == whole.open_set
    assert merged.calibration == whole.calibration
    assert lines[0] == whole.summary()


def test_unknown_queries_have_no_say_in_a_transductive_learners_temperature(store, tmp_path):
    found = []
    for ways in (1, 3):
        path = str(tmp_path / f"run{ways}")
        extra = "WAYS = 2\nletters_network.bn_policy = 'batch'\n"
        run = letters.trained_run(path, store, extra=extra)
        calibrate_run(run, 8, [f"open_set_episode.unknown_ways = {ways}"])
        found.append(loaded(run))
    assert found[0].temperature == found[1].temperature
    assert found[0].before == found[1].before
    assert found[0].rejection["threshold"] != found[1].rejection["threshold"]


def test_of_other_weights_or_settings_it_does_not_count(made):
    run, _, _ = made
    found = loaded(run)
    path = run.calibration_path
    assert Calibration.of_learner(path, found.weights, found.settings) == found
    assert Calibration.of_learner(path, "other", found.settings) is None
    assert Calibration.of_learner(path, found.weights, "other") is None
    assert Calibration.of_learner(f"{path}.none", found.weights, found.settings) is None


def test_a_split_without_other_classes_gives_a_temperature_alone(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store, extra="WAYS = 5\n")
    lines = calibrate_run(run, 4)
    assert loaded(run).rejection is None
    assert loaded(run).temperature > 0
    assert any("no threshold: the split leaves no classes" in line for line in lines)


def test_too_few_queries_for_a_threshold_leave_no_file(run):
    bindings = ["fixed_episode.queries = 1", "test/fixed_episode.ways = 2"]
    with pytest.raises(ValueError, match=r"needs 99 queries of known classes, and .* have 8\."):
        calibrate_run(run, 4, bindings, known_accepted=0.99)
    assert not os.path.exists(run.calibration_path)


def test_bindings_are_recorded_and_those_without_effect_refused(run):
    calibrate_run(run, 8, ["WAYS = 2", "open_set_episode.unknown_ways = 1"])
    found = loaded(run)
    assert found.overrides == ["WAYS = 2", "open_set_episode.unknown_ways = 1"]
    assert (found.ways, found.rejection["unknown_ways"]) == (2, 1)
    with pytest.raises(ValueError, match="has no effect on calibration"):
        calibrate_run(run, 8, ["letters_epoch.ways = 4"])
    assert loaded(run) == found


@pytest.mark.parametrize("text", ["", "[]", '{"temperature": 1.0}'])
def test_a_damaged_calibration_is_named(run, text):
    with open(run.calibration_path, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(
        ValueError, match=r"calibration.json' is (no calibration|damaged).*calibrate again"
    ):
        evaluate_run(run, "test", episodes=2)


def test_what_is_written_is_strict_json(made):
    run, _, _ = made

    def refused(constant):
        raise AssertionError(constant)

    for path in (run.calibration_path, run.evaluation_path("test_open_set")):
        with open(path, encoding="utf-8") as file:
            json.load(file, parse_constant=refused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate", "--split=test"], "--calibrate does not go with --split"),
        (["--calibrate", "--shard=0/2"], "--calibrate does not go with --shard"),
        (["--calibrate", "--known_accepted=1"], "between 0 and 1; received 1.0"),
        (["--calibrate", "--episodes=1"], "--episodes must be at least 2"),
        (["--open_set", "--classes=both"], "--open_set does not go with --classes"),
        (["--known_accepted=0.9"], "--known_accepted is for --calibrate"),
    ],
)
def test_what_is_refused(tmp_path, arguments, message):
    assert message in refusal(tmp_path, "kfsl.evaluate", "--run_dir=runs/one", *arguments)
