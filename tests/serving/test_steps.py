"""Learners that take gradient steps, served: the number of steps is an input."""

import os

import numpy as np
import pytest
import tensorflow as tf

from kfsl.episodes import EpisodeSpec
from kfsl.learners.maml import MAML
from kfsl.serving.export import export
from tests.support.contract import SERVED
from tests.support.exported_model import SHAPE, maml
from tests.support.served_apart import run_apart


@pytest.fixture(scope="module")
def learner():
    # It draws mini-batches and noise; without a seed, always the same.
    return maml(gradient_noise=0.02, inner_batch=3)


@pytest.fixture(scope="module")
def exported(learner, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    return path, export(learner, path, image_shape=SHAPE)


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(exported[0])


def inputs_of(ways=4):
    episode, _ = EpisodeSpec(ways, 2, 2, SHAPE).random_episode(seed=7)
    return {name: tf.constant(episode[name][0]) for name in SERVED}


def expected(learner, inputs, steps=None):
    images, labels, query = (inputs[name][None] for name in SERVED)
    state = learner.adapt(images, labels, steps=steps)
    return tf.nn.softmax(learner.infer(state, query)["logits"][0]).numpy()


def test_what_it_says_of_itself(exported):
    _, description = exported
    assert description["steps"] == {"default": 3, "free": True}
    assert description["ways"] == {"fixed": 4, "fewer": True}
    assert description["image"]["shape"] == list(SHAPE)
    assert description["transductive"] is False
    assert description["difference_from_python"] < 1e-5


def test_its_own_number_of_steps(learner, loaded):
    inputs = inputs_of()
    serve = loaded.signatures["serving_default"]
    found = serve(**inputs)["probabilities"].numpy()
    np.testing.assert_allclose(found, expected(learner, inputs), atol=1e-5)
    np.testing.assert_array_equal(serve(**inputs)["probabilities"].numpy(), found)


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_another_number_of_steps(learner, loaded, steps):
    inputs, signatures = inputs_of(), loaded.signatures
    found = signatures["serve_with_steps"](**inputs, steps=tf.constant(steps))["probabilities"]
    np.testing.assert_allclose(found, expected(learner, inputs, steps), atol=1e-5)
    # Not the learner's own three.
    assert np.abs(found - expected(learner, inputs)).max() > 1e-3
    state = signatures["adapt"](
        support_features=inputs["support_images"],
        support_labels=inputs["support_labels"],
        steps=tf.constant(steps),
    )
    inferred = signatures["infer"](**state, query_features=inputs["query_images"])
    np.testing.assert_allclose(inferred["probabilities"], found, atol=1e-5)


def test_negative_steps_are_refused_in_the_graph(loaded):
    inputs = inputs_of()
    with pytest.raises(tf.errors.InvalidArgumentError, match="steps must be 0 or more"):
        loaded.signatures["serve_with_steps"](**inputs, steps=tf.constant(-1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="steps must be 0 or more"):
        loaded.signatures["adapt"](
            support_features=inputs["support_images"],
            support_labels=inputs["support_labels"],
            steps=tf.constant(-1),
        )


def test_absent_classes_have_no_probability(learner, loaded):
    inputs = inputs_of(ways=3)
    found = loaded.signatures["serving_default"](**inputs)["probabilities"].numpy()
    np.testing.assert_array_equal(found[:, 3], 0.0)
    np.testing.assert_allclose(found, expected(learner, inputs), atol=1e-5)


def test_the_example_runs(exported, tmp_path):
    lines = run_apart(tmp_path, os.path.join(exported[0], "example.py")).splitlines()
    assert len(lines) == 4
    for line in lines:
        scores = [float(part.split(": ")[1]) for part in line.split(", ")]
        assert sum(scores) == pytest.approx(1.0, abs=0.003)


class FixedSteps(MAML):
    adapts_in_steps = False


def test_steps_that_are_not_free(tmp_path):
    learner = FixedSteps(maml().backbone, ways=4, steps=2)
    path = str(tmp_path / "model")
    description = export(learner, path, image_shape=SHAPE)
    assert description["steps"] == {"default": 2, "free": False}
    signatures = tf.saved_model.load(path).signatures
    assert set(signatures) == {"serving_default", "embed", "adapt", "infer"}
    assert set(signatures["adapt"].structured_input_signature[1]) == {
        "support_features",
        "support_labels",
    }


class ForgetsSteps(MAML):
    def adapt(self, features, labels, mask=None, seed=None, training=False, steps=None):
        # Traced with a tensor it takes a step too many.
        steps = steps if steps is None or isinstance(steps, int) else steps + 1
        return super().adapt(features, labels, mask, seed, training, steps)


def test_a_graph_with_other_steps_is_not_written(tmp_path):
    learner = ForgetsSteps(maml().backbone, ways=4, steps=2, inner_rate=0.2)
    with pytest.raises(ValueError, match="differs from the learner"):
        export(learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []
