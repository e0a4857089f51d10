"""The SavedModel: what it takes, and that it is right."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.episodes import EpisodeSpec
from kfsl.learners.stanet import STANet
from kfsl.serving import export as serving
from tests.support.contract import SERVED, generic
from tests.support.exported_model import SHAPE, description_of, prototypical_network
from tests.support.one_step import OneStep
from tests.support.served_apart import run_apart, served_apart
from tests.support.serving_recipes import recipes


class UnnamedState(OneStep):
    def adapt(self, features, labels, mask=None, seed=None, training=False):
        return {"fast/kernel": super().adapt(features, labels)["fast_kernel"]}


@pytest.fixture(scope="module")
def learner():
    return prototypical_network()


@pytest.fixture(scope="module")
def model(learner, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    training_data = {"dataset": "patterns", "counts": np.array([1, 2])}
    serving.export(learner, path, image_shape=SHAPE, training_data=training_data)
    return path


@pytest.fixture(scope="module")
def signatures(model):
    loaded = tf.saved_model.load(model)
    yield loaded.signatures
    del loaded


def episode_of(ways=3, shots=2, image_shape=SHAPE):
    return EpisodeSpec(ways, shots, 2, image_shape).random_episode(seed=7)[0]


def served(signatures, episode):
    inputs = {name: tf.constant(episode[name][0]) for name in SERVED}
    return signatures["serving_default"](**inputs)["probabilities"].numpy()


def expected(learner, episode):
    return tf.nn.softmax(learner(episode)["logits"])[0].numpy()


@pytest.mark.parametrize(
    ("ways", "shots", "shape"), [(2, 1, SHAPE), (7, 3, SHAPE), (3, 2, (21, 40, 1))]
)
def test_ways_shots_and_size_are_free(learner, signatures, ways, shots, shape):
    episode = episode_of(ways, shots, shape)
    found = served(signatures, episode)
    np.testing.assert_allclose(found, expected(learner, episode), atol=1e-5)
    assert np.ptp(found) > 0.1


def test_embed_adapt_infer_are_the_whole(signatures):
    episode = episode_of()
    support, labels, query = (tf.constant(episode[name][0]) for name in SERVED)
    embed, adapt, infer = (signatures[name] for name in ("embed", "adapt", "infer"))
    state = adapt(support_features=embed(images=support)["features"], support_labels=labels)
    assert set(state) == {"prototypes", "support_counts"}
    outputs = infer(**state, query_features=embed(images=query)["features"])
    np.testing.assert_allclose(
        outputs["probabilities"].numpy(), served(signatures, episode), atol=1e-6
    )
    np.testing.assert_allclose(
        tf.nn.softmax(outputs["logits"]).numpy(), outputs["probabilities"].numpy(), atol=1e-6
    )


def test_what_lies_beside_the_graph(model):
    description = description_of(model)
    assert description["learner"] == "PrototypicalNetwork"
    assert description["bn_policy"] == "running"
    assert description["transductive"] is False
    assert description["image"]["shape"] == [None, None, 1]
    assert description["image"]["trained_shape"] == [16, 16, 1]
    assert description["image"]["smallest_size"] == 4
    assert description["ways"] == {"fixed": None, "fewer": True}
    assert description["difference_from_python"] < 1e-5
    assert description["versions"]["tensorflow"]
    restored = keras.saving.deserialize_keras_object(description["config"])
    assert restored.backbone.filters == 4
    with open(os.path.join(model, "classes.json"), encoding="utf-8") as file:
        assert json.load(file) == {"dataset": "patterns", "counts": [1, 2]}


def test_fast_weights_in_a_process_without_kfsl(one_step, fast_weights, tmp_path):
    description = description_of(fast_weights)
    assert set(description["state"]) == {"fast_kernel", "fast_bias"}
    assert description["state"]["fast_kernel"]["shape"] == [256, 3]
    assert description["features"]["dtype"] == "uint8"
    # Nothing declares a size; the weights are tied to 16x16 pixels.
    assert description["image"]["shape"] == [16, 16, 1]
    episode = episode_of()
    arrays = {name: episode[name][0] for name in SERVED}
    found = served_apart(Path(fast_weights), arrays, tmp_path)["answers"]
    np.testing.assert_allclose(found, expected(one_step, episode), atol=1e-5)
    unadapted = one_step.infer(
        {"fast_kernel": one_step.kernel.value[None], "fast_bias": one_step.bias.value[None]},
        episode["query_images"],
    )["logits"]
    assert np.abs(found - tf.nn.softmax(unadapted)[0]).max() > 0.1


def test_the_example_runs_as_shipped(model, tmp_path):
    lines = run_apart(tmp_path, os.path.join(model, "example.py")).splitlines()
    assert len(lines) == 5
    for number, line in enumerate(lines):
        scores = [float(part.split(": ")[1]) for part in line.split(", ")]
        assert scores.index(max(scores)) == number
        assert sum(scores) == pytest.approx(1.0, abs=0.004)


def test_the_document_runs(model):
    code = "".join(recipes("SavedModel in Python"))
    code = code.replace("runs/prototypical_network/saved_model", model)
    episode = episode_of(ways=2)
    names = {name: episode[name][0] for name in ("support_images", "query_images")}
    exec(compile(code, "serving.md", "exec"), names)
    np.testing.assert_array_equal(episode["support_labels"][0], [0, 0, 1, 1])
    found = names["infer"](**names["state"], query_features=names["query_features"])
    np.testing.assert_allclose(
        found["probabilities"].numpy(), names["outputs"]["probabilities"].numpy(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, -1, 1], "count from 0"), ([0, 1], "One label for each"), ([0, 1, 3], "go from 0 to 2")],
)
def test_wrong_labels_are_refused_in_the_graph(fast_weights, labels, message):
    loaded = tf.saved_model.load(fast_weights)
    episode = episode_of(shots=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["serving_default"](
            support_images=tf.constant(episode["support_images"][0]),
            support_labels=tf.constant(labels),
            query_images=tf.constant(episode["query_images"][0]),
        )


def test_fixed_size_and_ways(tmp_path):
    learner = prototypical_network(SHAPE, ways=4)
    description = serving.export(learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert description["image"]["shape"] == [16, 16, 1]
    assert description["image"]["smallest_size"] is None
    assert description["ways"] == {"fixed": 4, "fewer": True}


def test_a_method_that_needs_all_its_ways_says_so(tmp_path):
    learner = generic(STANet(prototypical_network().backbone, 4, num_layers=1))
    description = serving.export(learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert description["ways"] == {"fixed": 4, "fewer": False}


def test_transductive_models_say_so(tmp_path):
    learner = prototypical_network(bn_policy="batch")
    path = str(tmp_path / "model")
    description = serving.export(learner, path, image_shape=SHAPE)
    assert description["transductive"] is True
    assert description["bn_policy"] == "batch"


def test_half_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        learner = prototypical_network()
        path = str(tmp_path / "model")
        serving.export(learner, path, image_shape=SHAPE)
    finally:
        keras.config.set_dtype_policy("float32")
    found = served(tf.saved_model.load(path).signatures, episode_of())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-5)


def test_a_state_needs_identifiers(tmp_path):
    with pytest.raises(ValueError, match="'fast/kernel'"):
        serving.export(UnnamedState(), str(tmp_path / "model"), image_shape=SHAPE)
    assert os.listdir(tmp_path) == []
