"""A served policy acts and adapts as the learner does, where neither kfsl nor Keras is."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.reinforcement.export_policy import export_policy
from kfsl.serving.files import read_description
from tests.support import forked
from tests.support.contract import generic
from tests.support.policies import KINDS, experiment
from tests.support.served_apart import SAVED_MODEL_PROCESS


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    found = experiment(request.param)
    generic(found.learner)
    path = str(tmp_path_factory.mktemp("policy") / "model")
    export_policy(found, path, overrides=["Navigation.horizon = 3"])
    return found, path


def test_it_acts_and_adapts_as_the_learner_does(exported):
    found, path = exported
    loaded = tf.saved_model.load(path)
    start, act, adapt = (loaded.signatures[name] for name in ("start", "act", "adapt"))
    rng = np.random.default_rng(0)
    seen, actions, advantages = (
        rng.normal(size=shape).astype("float32") for shape in ((9, 2), (9, 2), (9,))
    )
    ours, theirs = found.learner.adapted_network.start({}, None), start()
    assert set(ours) == set(theirs)
    targets = tf.constant(np.concatenate([actions, advantages[:, None]], axis=-1))
    for _ in range(2):
        outputs = found.learner.infer_task(ours, tf.constant(seen)).numpy()
        answer = act(**theirs, observations=tf.constant(seen))
        np.testing.assert_allclose(answer["means"], outputs[:, :2], atol=1e-5)
        np.testing.assert_allclose(answer["deviations"], np.exp(outputs[:, 2:]), rtol=1e-5)
        moved, _ = found.learner.adapt_task(tf.constant(seen), targets, start=ours)
        assert any(np.max(np.abs(moved[key] - ours[key])) > 1e-4 for key in ours)
        ours = moved
        given = {"observations": seen, "actions": actions, "advantages": advantages}
        theirs = adapt(**theirs, **{name: tf.constant(value) for name, value in given.items()})
    default = loaded.signatures["serving_default"](observations=tf.constant(seen))
    first = act(**start(), observations=tf.constant(seen))
    np.testing.assert_array_equal(default["means"], first["means"])


def test_what_lies_beside_it(exported):
    found, path = exported
    description = read_description(path)
    assert description["policy"] == {"observation": 2, "action": 2}
    assert description["overrides"] == ["Navigation.horizon = 3"]
    assert set(description["state"]) == set(found.learner.adapted_network.keys)
    assert description["difference_from_python"] < 1e-5


def test_wrong_shapes_are_refused_in_words(exported):
    _, path = exported
    loaded = tf.saved_model.load(path)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"observations must have the shape"):
        loaded.signatures["serving_default"](observations=tf.zeros((4, 3)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="One action and one advantage"):
        loaded.signatures["adapt"](
            **loaded.signatures["start"](), observations=tf.zeros((4, 2)),
            actions=tf.zeros((3, 2)), advantages=tf.zeros(4),
        )  # fmt: skip


def test_the_example_runs_without_kfsl(exported):
    _, path = exported
    result = forked.python([SAVED_MODEL_PROCESS, f"{path}/example.py"])
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"after {i} updates" for i in range(4)]
