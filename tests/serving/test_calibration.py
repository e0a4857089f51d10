"""A calibrated SavedModel: honest probabilities, the same predictions."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.mlp import MLP
from kfsl.learners.base.settings import settings_fingerprint
from kfsl.learners.maml import MAML
from kfsl.objectives import Regression
from kfsl.prediction.served_learner import ServedLearner
from kfsl.serving.check import difference_from_learner
from kfsl.serving.export import export
from tests.support.calibrations import REJECTION, calibration
from tests.support.exported_model import SHAPE, maml, prototypical_network


def task(ways=4):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3 * ways, *SHAPE)).astype("uint8")
    return images[: 2 * ways], np.repeat(np.arange(ways, dtype="int32"), 2), images[2 * ways :]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """The same learner, as it is and calibrated; with what `model.json` says of the second."""
    folder = str(tmp_path_factory.mktemp("exports"))
    learner = prototypical_network(SHAPE)
    export(learner, f"{folder}/plain", image_shape=SHAPE)
    described = export(
        learner, f"{folder}/calibrated", image_shape=SHAPE, calibration=calibration(2.5)
    )
    return folder, described


def answers(path, **arguments):
    served = ServedLearner.load(path, **arguments)
    support, labels, queries = task()
    return served.answers(served.embed(support), labels, served.embed(queries))


def test_the_graph_divides_logits(exports):
    folder, _ = exports
    plain, calibrated = (answers(f"{folder}/{name}") for name in ("plain", "calibrated"))
    np.testing.assert_allclose(calibrated["logits"], plain["logits"] / 2.5, rtol=1e-5)
    expected = tf.nn.softmax(plain["logits"].astype("float64") / 2.5).numpy()
    np.testing.assert_allclose(calibrated["probabilities"], expected, atol=1e-5)
    assert np.abs(expected - plain["probabilities"]).max() > 0.05
    predictions = [each["probabilities"].argmax(axis=1) for each in (plain, calibrated)]
    np.testing.assert_array_equal(*predictions)


def test_the_whole_gives_the_same(exports):
    folder, _ = exports
    support, labels, queries = (tf.constant(each) for each in task())
    loaded = tf.saved_model.load(f"{folder}/calibrated")
    whole = loaded.signatures["serving_default"](
        support_images=support, support_labels=labels, query_images=queries
    )
    expected = answers(f"{folder}/calibrated")["probabilities"]
    np.testing.assert_allclose(whole["probabilities"], expected, atol=1e-6)


def test_model_json_says_how_it_was_calibrated(exports):
    _, described = exports
    assert described["calibration"] == {
        "temperature": 2.5, "split": "val", "episodes": 600, "ways": 5, "shots": 1,
        "before": {"ece": 0.1}, "after": {"ece": 0.01}, "rejection": REJECTION,
    }  # fmt: skip
    assert described["settings"] == settings_fingerprint(prototypical_network(SHAPE))


def test_gradient_learners_and_their_steps(tmp_path):
    path = str(tmp_path / "model")
    learner = maml()
    export(learner, path, image_shape=SHAPE, calibration=calibration(0.5))
    support, labels, queries = task()
    features = learner.embed(support[None])
    for steps in (1, 3):
        state = learner.adapt(features, labels[None], steps=steps)
        logits = learner.infer(state, learner.embed(queries[None]))["logits"][0].numpy()
        found = answers(path, steps=steps)["logits"]
        np.testing.assert_allclose(found, logits / 0.5, atol=1e-4 * np.abs(logits).max())


def test_a_graph_of_another_temperature_is_found_out(exports):
    folder, _ = exports
    learner, path = prototypical_network(SHAPE), f"{folder}/calibrated"
    assert difference_from_learner(learner, path, SHAPE, False, 2.5) < 1e-4
    with pytest.raises(ValueError, match="differs from the learner"):
        difference_from_learner(learner, path, SHAPE, False, 2.4)


def test_half_precision_is_divided_in_single(tmp_path):
    path = str(tmp_path / "model")
    learner = prototypical_network(SHAPE, dtype="mixed_float16")
    export(learner, path, image_shape=SHAPE, calibration=calibration(3.0))
    found = answers(path)
    np.testing.assert_array_equal(found["probabilities"], tf.nn.softmax(found["logits"]).numpy())
    # Thirds of half precision's numbers, which half precision does not have.
    assert (found["logits"] != found["logits"].astype("float16")).any()


def test_numbers_have_no_temperature(tmp_path):
    learner = MAML(MLP((1,), hidden=(4,)), objective=Regression(1))
    with pytest.raises(ValueError, match="answers with numbers: there are no probabilities"):
        export(learner, str(tmp_path / "model"), image_shape=None, calibration=calibration(2.0))
    assert list(tmp_path.iterdir()) == []


def test_settings_tell_learners_apart_but_not_what_they_were_called_with():
    first, second = maml(), maml()
    support, labels, queries = task()
    second.infer(
        second.adapt(second.embed(support[None]), labels[None]), second.embed(queries[None])
    )
    assert settings_fingerprint(first) == settings_fingerprint(second)
    assert settings_fingerprint(maml(evaluation_steps=4)) != settings_fingerprint(first)
    assert dataclasses.replace(calibration(2.0), weights="a").served() == calibration(2.0).served()
