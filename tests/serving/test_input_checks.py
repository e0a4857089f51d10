"""What a served graph is given wrong, it refuses in words: no process ends of it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.maml import MAML
from kfsl.learners.stanet import STANet
from kfsl.serving.export import export
from kfsl.serving.files import MOST_STEPS
from tests.support.contract import SERVED, generic
from tests.support.exported_model import SHAPE, maml, prototypical_network

REFUSED = tf.errors.InvalidArgumentError


def exported(learner, factory):
    path = str(factory.mktemp("exports") / "model")
    return path, export(learner, path, image_shape=SHAPE)


@pytest.fixture(scope="module")
def prototypes(tmp_path_factory):
    path, description = exported(prototypical_network(), tmp_path_factory)
    assert description["image"]["smallest_size"] == 4
    return tf.saved_model.load(path)


@pytest.fixture(scope="module")
def fast_weights(tmp_path_factory):
    return exported(maml(), tmp_path_factory)[0]


def inputs_of(ways=4, shots=1):
    episode, _ = EpisodeSpec(ways, shots, 2, SHAPE).random_episode(seed=7)
    return {name: tf.constant(episode[name][0]) for name in SERVED}


IMAGES = r"must have the shape \[any, 4 or more, 4 or more, 1\]; received the shape\] \[{}\]"


@pytest.mark.parametrize("name", ["support_images", "query_images"])
@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((4, 16, 16), "4 16 16"),
        ((1, 4, 16, 16, 1), "1 4 16 16 1"),
        ((4, 16, 16, 3), "4 16 16 3"),
        ((4, 3, 16, 1), "4 3 16 1"),
        ((4, 16, 3, 1), "4 16 3 1"),
        ((), ""),
    ],
)
def test_images_of_a_wrong_shape(prototypes, name, shape, shown):
    inputs = inputs_of()
    images = tf.zeros(shape, tf.uint8)
    with pytest.raises(REFUSED, match=name + " " + IMAGES.format(shown)):
        prototypes.signatures["serving_default"](**{**inputs, name: images})
    with pytest.raises(REFUSED, match="images " + IMAGES.format(shown)):
        prototypes.signatures["embed"](images=images)


def test_the_smallest_size_is_taken(prototypes):
    episode, _ = EpisodeSpec(3, 1, 2, (4, 4, 1)).random_episode(seed=7)
    inputs = {name: tf.constant(episode[name][0]) for name in SERVED}
    found = prototypes.signatures["serving_default"](**inputs)["probabilities"].numpy()
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-5)


def test_labels_features_and_states_of_a_wrong_rank(prototypes):
    signatures, inputs = prototypes.signatures, inputs_of()
    labels = inputs["support_labels"]
    with pytest.raises(REFUSED, match=r"support_labels must have the shape \[any\]; .* \[1 4\]"):
        signatures["serving_default"](**{**inputs, "support_labels": labels[None]})
    features = signatures["embed"](images=inputs["support_images"])["features"]
    with pytest.raises(REFUSED, match="support_features must have the shape"):
        signatures["adapt"](support_features=features[0], support_labels=labels)
    state = signatures["adapt"](support_features=features, support_labels=labels)
    with pytest.raises(REFUSED, match="query_features must have the shape"):
        signatures["infer"](**state, query_features=features[0])
    for key in state:
        wrong = {**state, key: state[key][None]}
        with pytest.raises(REFUSED, match=f"{key} must have the shape"):
            signatures["infer"](**wrong, query_features=features)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 100_000_000], "less than the number of support images"),
        ([0, 1, 2, 4], "less than the number of support images"),
        ([0, 1, 2, 2**31 - 1], "less than the number of support images"),
        ([0, 1, 2, -1], "count from 0"),
    ],
)
def test_labels_out_of_range_where_ways_are_free(prototypes, labels, message):
    inputs = {**inputs_of(), "support_labels": tf.constant(labels)}
    with pytest.raises(REFUSED, match=message):
        prototypes.signatures["serving_default"](**inputs)
    features = prototypes.signatures["embed"](images=inputs["support_images"])["features"]
    with pytest.raises(REFUSED, match=message):
        prototypes.signatures["adapt"](
            support_features=features, support_labels=inputs["support_labels"]
        )


def test_a_gap_among_the_labels_is_none_of_that(prototypes):
    inputs = {**inputs_of(), "support_labels": tf.constant([0, 1, 3, 3])}
    found = prototypes.signatures["serving_default"](**inputs)["probabilities"].numpy()
    assert found.shape[-1] == 4
    np.testing.assert_array_equal(found[:, 2], 0.0)


def test_a_method_that_needs_all_its_ways_is_given_them(tmp_path):
    learner = generic(STANet(prototypical_network().backbone, 4, num_layers=1))
    export(learner, str(tmp_path / "model"), image_shape=SHAPE)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    serve = loaded.signatures["serving_default"]
    assert serve(**inputs_of())["probabilities"].shape == (8, 4)
    with pytest.raises(REFUSED, match=r"takes 4 ways and no fewer.*\[0 1 2 2\]"):
        serve(**{**inputs_of(), "support_labels": tf.constant([0, 1, 2, 2])})


def test_steps_that_would_fill_the_memory(fast_weights):
    loaded = tf.saved_model.load(fast_weights)
    inputs = inputs_of()
    for steps in (MOST_STEPS + 1, 2**31 - 1):
        with pytest.raises(REFUSED, match=f"steps must be {MOST_STEPS} or less"):
            loaded.signatures["serve_with_steps"](**inputs, steps=tf.constant(steps))
    with pytest.raises(REFUSED, match=r"steps must have the shape \[\]"):
        loaded.signatures["serve_with_steps"](**inputs, steps=tf.constant([1]))


SERVER = """
import json, sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
for shape in json.loads(sys.argv[2]):
    for name in ("support_images", "query_images"):
        inputs = {"support_images": (4, 16, 16, 1), "query_images": (2, 16, 16, 1), name: shape}
        inputs = {key: tf.zeros(value, tf.uint8) for key, value in inputs.items()}
        labels = tf.range(4)
        for signature, more in (("serving_default", {}), ("serve_with_steps", {"steps": 1})):
            steps = {key: tf.constant(value) for key, value in more.items()}
            try:
                model.signatures[signature](support_labels=labels, **inputs, **steps)
            except tf.errors.InvalidArgumentError as error:
                print(name in str(error) and "must have the shape" in str(error))
"""


def test_a_process_outlives_malformed_requests(fast_weights):
    # Without the checks the first of them ends the process in a kernel: hence one of its own.
    shapes = [(4, 16, 16), (2, 16, 16), (4, 16), (4,), (), (1, 4, 16, 16, 1), (4, 16, 16, 3)]
    arguments = [sys.executable, "-c", SERVER, fast_weights, json.dumps(shapes)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 4 * len(shapes)


def test_fast_weights_of_free_size_have_a_smallest_one(tmp_path):
    backbone = Conv4(image_shape=(None, None, 1), filters=4, num_pools=2)
    learner = generic(MAML(backbone, ways=4, steps=1, pooling="average", bn_policy="support"))
    description = export(learner, str(tmp_path / "model"), image_shape=SHAPE)
    assert description["image"]["smallest_size"] == 4
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    # Features are the images here.
    state = loaded.signatures["adapt"](
        support_features=tf.zeros((4, 9, 9, 1), tf.uint8),
        support_labels=tf.range(4),
        steps=tf.constant(1),
    )
    for size in ((3, 9), (9, 3)):
        images = tf.zeros((4, *size, 1), tf.uint8)
        with pytest.raises(REFUSED, match=r"images must have the shape .*4 or more"):
            loaded.signatures["embed"](images=images)
        with pytest.raises(REFUSED, match=r"query_features must have the shape .*4 or more"):
            loaded.signatures["infer"](**state, query_features=images)
