"""What STANet decays and what it tells of its attention while it is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.stanet import STANet
from tests.learners.test_stanet import CLASSES, SPEC, make


@pytest.fixture
def episode():
    return SPEC.random_episode()[0]


def test_weight_decay_of_one_part_reaches_that_part_alone(episode):
    plain, decayed = (make(weight_decay=decay) for decay in (0.0, {"attention": 0.5}))
    for learner in (plain, decayed):
        learner.compile(keras.optimizers.SGD(0.1))
    decayed.set_weights(plain.get_weights())
    labels = tf.constant([[0, 1, 2, 0, 1, 2]])
    _, _, without = plain.loss_and_gradients(episode, labels)
    _, _, found = decayed.loss_and_gradients(episode, labels)
    attention = {id(weight) for weight in decayed.weight_parts()["attention"]}
    assert len(attention) > 0
    for weight, a, b in zip(decayed.trainable_weights, without, found, strict=True):
        expected = a + 0.5 * weight if id(weight) in attention else a
        np.testing.assert_allclose(b, expected, rtol=1e-5, atol=1e-6)


def test_every_weight_belongs_to_one_part():
    learner = make(semantic_classes=CLASSES)
    parts = [id(weight) for part in learner.weight_parts().values() for weight in part]
    assert sorted(parts) == sorted(id(weight) for weight in learner.trainable_weights)


def test_weight_decay_by_part_survives_its_configuration():
    learner = make(weight_decay={"backbone": 5e-4})
    again = STANet.from_config(learner.get_config())
    assert again.weight_decay == {"backbone": 5e-4}
    assert make(weight_decay=0.1).get_config()["weight_decay"] == 0.1


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        ({"trunk": 0.1}, "no part 'trunk', which weight_decay names; it has attention, backbone"),
        ({"backbone": -0.1}, "received -0.1 for 'backbone'"),
        ("5e-4", "`weight_decay` must be a number .* received '5e-4'"),
    ],
)
def test_weight_decay_is_checked(decay, message):
    with pytest.raises(ValueError, match=message):
        make(weight_decay=decay).compile("sgd")


def test_a_layer_that_attends_to_everything_alike_is_a_concern(episode):
    learner = make(num_layers=2)
    learner.compile("sgd")
    for factor, layer in zip((20.0, 0.0), learner.attention_layers, strict=True):
        for weight in layer.spatial.trainable_weights:
            weight.assign(factor * weight)
    labels = tf.constant([[0, 1, 2, 0, 1, 2]])
    # What the first layer's attention is, by hand.
    attention = np.asarray(learner(episode, training=True)["spatial_attention_query"])[:, 0]
    attention = attention.reshape(1, 6, -1)
    entropies = -np.sum(attention * np.log(np.maximum(attention, 1e-30)), axis=-1) / np.log(
        attention.shape[-1]
    )
    logs = {name: float(value) for name, value in learner.train_step((episode, labels)).items()}
    assert 0.0 < entropies.mean() < 0.999
    assert logs["spatial_entropy_1"] == pytest.approx(entropies.mean(), abs=1e-5)
    assert logs["spatial_entropy_2"] == pytest.approx(1.0, abs=1e-6)
    (concern,) = (line for line in learner.concerns(logs) if line.startswith("spatial"))
    assert concern.startswith("spatial_entropy_2 is 1.0000")
    assert not learner.concerns({"spatial_entropy_1": 0.99, "task_entropy_2": 0.5})


@pytest.mark.parametrize("fixed", [{"spatial_attention": "uniform"}, {"num_pools": 4}])
def test_attention_without_a_choice_is_no_concern(fixed):
    if "num_pools" in fixed:
        learner = STANet(Conv4((16, 16, 1), filters=4), ways=3)
        assert learner.backbone.output_shape[1:3] == (1, 1)
    else:
        learner = make(**fixed)
    assert learner.concerns({"spatial_entropy_1": 1.0}) == []
