"""Regression in an inner loop: numbers instead of classes, by the same learners."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones import MLP
from kfsl.learners import MAML, Reptile
from kfsl.objectives import Regression


def sines(tasks: int = 4, seed: int = 0) -> tuple[dict, np.ndarray]:
    """Tasks of Finn et al., section 5.1: amplitude and phase differ."""
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.uniform(0.1, 5.0, (tasks, 1, 1)), rng.uniform(0, np.pi, (tasks, 1, 1))
    x = rng.uniform(-5, 5, (tasks, 30, 1))
    y = (amplitude * np.sin(x - phase)).astype("float32")
    x = x.astype("float32")
    episode = {
        "support_inputs": x[:, :10],
        "support_targets": y[:, :10],
        "query_inputs": x[:, 10:],
    }
    return episode, y[:, 10:]


def learner(**arguments) -> MAML:
    keras.utils.set_random_seed(0)
    backbone = MLP(image_shape=(1,))
    arguments = {"steps": 3, "inner_rate": 0.01, **arguments}
    return MAML(backbone, objective=Regression(1), bn_policy="batch", **arguments)


def test_inner_steps_follow_the_squared_error():
    """One step, by hand: the gradient of the mean squared error of the support set."""
    maml = learner(steps=1, inner_rate=0.1)
    episode, _ = sines(tasks=1)
    state = maml.adapt(episode["support_inputs"], episode["support_targets"])
    with tf.GradientTape() as tape:
        outputs = maml.network(episode["support_inputs"][0])
        loss = tf.reduce_mean((outputs - episode["support_targets"][0]) ** 2)
    variables = maml.network.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert set(state) == set(maml.adapted_network.keys)  # No class is absent: no counts.
    for key, variable, gradient in zip(state, variables, gradients, strict=True):
        np.testing.assert_allclose(state[key][0], variable - 0.1 * gradient, rtol=1e-5, atol=1e-7)


def test_a_learner_trains_on_tasks_of_numbers():
    maml = learner()
    maml.compile(keras.optimizers.Adam(1e-2))
    data = sines()
    stream = tf.data.Dataset.from_tensors(data).repeat(60)
    logs = maml.fit(stream, epochs=1, shuffle=False, verbose=0).history
    found = maml.evaluate(tf.data.Dataset.from_tensors(data), verbose=0, return_dict=True)
    assert set(found) == {"loss", "error", "error_interval"}
    assert found["error"] < 0.25 * np.var(data[1])
    assert found["error"] < 0.5 * logs["error"][0]
    predictions = maml(data[0])["predictions"].numpy()
    np.testing.assert_allclose(found["error"], np.mean((predictions - data[1]) ** 2), rtol=1e-5)


def test_a_meta_batch_is_its_tasks_alone():
    maml = learner()
    episode, targets = sines(tasks=3)
    maml.compile("sgd")
    _, loss, gradients = maml.loss_and_gradients(episode, tf.constant(targets))
    alone = [
        maml.loss_and_gradients(
            {key: value[i : i + 1] for key, value in episode.items()},
            tf.constant(targets[i : i + 1]),
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(loss, np.mean([each[1] for each in alone]), rtol=1e-5)
    for i, gradient in enumerate(gradients):
        mean = np.mean([each[2][i] for each in alone], axis=0)
        np.testing.assert_allclose(gradient, mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("meta_gradient", ["difference", "last"])
@pytest.mark.parametrize("train_on", ["support", "pooled"])
def test_reptile_of_one_step_follows_the_squared_error_too(meta_gradient, train_on):
    """By hand: the difference over the rate, and the last gradient, are that of the error."""
    keras.utils.set_random_seed(0)
    reptile = Reptile(
        MLP(image_shape=(1,)),
        objective=Regression(1),
        steps=1,
        inner_rate=1e-2,
        inner_optimizer="sgd",
        scale=1e-2,
        meta_gradient=meta_gradient,
        train_on=train_on,
    )
    reptile.compile("sgd")
    episode, targets = sines(tasks=2)
    _, _, found = reptile.loss_and_gradients(episode, tf.constant(targets))
    inputs, wanted = episode["support_inputs"], episode["support_targets"]
    if train_on == "pooled":
        inputs = np.concatenate([inputs, episode["query_inputs"]], axis=1)
        wanted = np.concatenate([wanted, targets], axis=1)
    weights = reptile.trainable_weights
    with tf.GradientTape() as tape:
        losses = [tf.reduce_mean((reptile.network(inputs[i]) - wanted[i]) ** 2) for i in range(2)]
        loss = tf.reduce_mean(losses)
    expected = tape.gradient(loss, [weight.value for weight in weights])
    scale = max(float(tf.reduce_max(tf.abs(each))) for each in expected)
    for mine, by_hand in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, by_hand, rtol=1e-3, atol=2e-4 * scale)


def test_saved_with_its_learner(tmp_path):
    maml = learner()
    maml.save(tmp_path / "maml.keras")
    loaded = keras.saving.load_model(tmp_path / "maml.keras")
    assert isinstance(loaded.objective, Regression)
    episode, _ = sines(tasks=1)
    np.testing.assert_allclose(
        loaded(episode)["predictions"], maml(episode)["predictions"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((1, 10), "float32"), r"float32 \[B, n, 1\]; received float32 of shape \(1, 10\)"),
        (np.zeros((1, 10, 2), "float32"), r"shape \(1, 10, 2\)"),
        (np.zeros((1, 10, 1), "int32"), "received int32"),
    ],
)
def test_wrong_targets_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        learner().adapt(np.zeros((1, 10, 1), "float32"), targets)


def test_numbers_are_no_labels_for_a_classifier():
    maml = MAML(MLP(image_shape=(1,)), ways=3, preprocessing=keras.layers.Identity())
    with pytest.raises(ValueError, match=r"whole numbers.*received float32.*objective="):
        maml.adapt(np.zeros((1, 10, 1), "float32"), np.zeros((1, 10, 1), "float32"))


def test_ways_and_objective_must_agree():
    with pytest.raises(ValueError, match="The objective has 1 columns; received ways=5"):
        MAML(MLP(image_shape=(1,)), objective=Regression(1), ways=5)
