"""What all learners that adapt by gradient steps do with a backbone."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.layers.random_affine import RandomAffine
from kfsl.learners.cavia import CAVIA
from kfsl.learners.maml import MAML
from kfsl.learners.reptile import Reptile
from kfsl.networks import exact
from kfsl.objectives import Regression

SHAPE = (8, 8, 1)


def stack():
    return [
        keras.layers.Conv2D(2, 3, activation="relu", name="first"),
        keras.layers.Conv2D(3, 3, name="last"),
    ]


def functional():
    images = x = keras.Input(SHAPE)
    for layer in stack():
        x = layer(x)
    return keras.Model(images, x)


LEARNERS = {
    "MAML": lambda backbone: MAML(backbone, ways=2, steps=1),
    "CAVIA": lambda backbone: CAVIA(backbone, ways=2, steps=1, modulated="last"),
    "CAVIA in the middle": lambda backbone: CAVIA(backbone, ways=2, steps=1, modulated="first"),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=list(LEARNERS))
def test_a_sequential_backbone_is_like_a_functional_one(make, tmp_path):
    learner = make(keras.Sequential([keras.Input(SHAPE), *stack()]))
    expected = make(functional())
    expected.network.set_weights(learner.network.get_weights())
    episode, _ = EpisodeSpec(2, 1, 2, SHAPE).random_episode(meta_batch=1)
    logits = learner(episode)["logits"]
    np.testing.assert_allclose(logits, expected(episode)["logits"], atol=1e-6)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert type(loaded.backbone) is keras.Sequential
    np.testing.assert_array_equal(loaded(episode)["logits"], logits)


def test_backbones_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def call(self, images):
            return images

    model = Subclassed(name="own")
    model(np.zeros((1, *SHAPE)))
    for backbone in (model, keras.Sequential(stack(), name="own")):
        with pytest.raises(ValueError, match=r"backbone 'own' .* begins with keras\.Input"):
            MAML(backbone, ways=2)


def test_augmentation_transforms_the_images_of_each_step_anew():
    seen = []

    class Recorded(RandomAffine):
        def call(self, images, seed):
            moved = super().call(images, seed)
            seen.append(moved.numpy())
            return moved

    spec = EpisodeSpec(2, 2, 1, (8, 8, 1))
    episode, _ = spec.random_episode()
    backbone = Conv4((8, 8, 1), filters=4, num_pools=2)
    arguments = {"ways": 2, "steps": 3, "bn_policy": "support"}
    learner = MAML(backbone, augmentation=Recorded(), **arguments)
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    # Three steps, and once more for the moments.
    assert len(seen) == 4
    assert all(np.max(np.abs(a - b)) > 0.1 for a, b in itertools.combinations(seen, 2))
    again = learner.adapt(episode["support_images"], episode["support_labels"])
    for key, value in state.items():
        np.testing.assert_array_equal(again[key], value)
    learner = MAML(backbone, augmentation=RandomAffine(fill=0.5), **arguments)
    copy = MAML.from_config(learner.get_config())
    assert copy.augmentation.fill == 0.5


def with_dropout(rate):
    layers = stack()
    return keras.Sequential([keras.Input(SHAPE), layers[0], keras.layers.Dropout(rate), layers[1]])


@pytest.mark.parametrize("bn_policy", ["batch", "support", "running"])
@pytest.mark.parametrize("meta_batch", [1, 2])
def test_dropout_acts_in_training_alone_and_anew_each_time(bn_policy, meta_batch):
    keras.utils.set_random_seed(0)  # Of other weights all ReLUs may be off, and no mask matter.
    learner = MAML(with_dropout(0.5), ways=2, steps=1, bn_policy=bn_policy)
    plain = MAML(with_dropout(0.0), ways=2, steps=1, bn_policy=bn_policy)
    weights = zip(plain.trainable_variables, learner.trainable_variables, strict=True)
    for variable, value in weights:
        variable.assign(value)
    episode, labels = EpisodeSpec(2, 2, 3, SHAPE).random_episode(meta_batch=meta_batch)
    logits = plain(episode)["logits"]
    np.testing.assert_allclose(learner(episode)["logits"], logits, atol=1e-6)

    learner.compile(keras.optimizers.SGD(0.0))  # Nothing but the mask can differ.
    data = tf.nest.map_structure(tf.constant, (episode, labels))
    step = tf.function(learner.loss_and_gradients, autograph=False)
    losses = [float(step(*data)[1]) for _ in range(3)]
    assert len(set(losses)) == 3
    np.testing.assert_allclose(learner(episode)["logits"], logits, atol=1e-6)


@pytest.mark.parametrize("learner", [MAML, Reptile])
def test_dropout_beside_keras_own_normalisation(learner):
    """Called as in training for a task's moments, it would drop at test too."""

    def network(rate):
        first, last = stack()
        middle = [keras.layers.BatchNormalization(name="bn"), keras.layers.Dropout(rate)]
        return keras.Sequential([keras.Input(SHAPE), first, *middle, last])

    arguments = {"ways": 2, "steps": 1} | ({"first_order": True} if learner is MAML else {})
    with pytest.raises(ValueError, match=r"'bn' is .* dropout or noise, which would act at test"):
        learner(network(0.5), **arguments)
    learner(network(0.0), **arguments)
    learner(network(0.5), bn_policy="running", **arguments)
    # It counts what it adapted to, and draws nothing.
    counting = keras.layers.Normalization(axis=-1)
    learner(keras.Sequential([keras.Input(SHAPE), counting, *network(0.0).layers]), **arguments)
    keras.utils.set_random_seed(0)  # Of other weights all ReLUs may be off.
    dropping, plain = (learner(exact(network(rate)), **arguments) for rate in (0.5, 0.0))
    for variable, value in zip(
        plain.trainable_variables, dropping.trainable_variables, strict=True
    ):
        variable.assign(value)
    episode, _ = EpisodeSpec(2, 2, 3, SHAPE).random_episode()
    logits = plain(episode)["logits"]
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(dropping(episode)["logits"], logits, atol=1e-6)


def test_rates_that_no_step_uses_have_no_gradient():
    learner = MAML(functional(), ways=2, steps=0, rates="shared")
    learner.compile(keras.optimizers.SGD(0.1))
    episode, labels = EpisodeSpec(2, 1, 2, SHAPE).random_episode(meta_batch=2)
    data = tf.nest.map_structure(tf.constant, (episode, labels))
    _, _, found = tf.function(learner.loss_and_gradients, autograph=False)(*data)
    of = dict(zip([w.path for w in learner.trainable_weights], found, strict=True))
    (rate,) = [path for path in of if "inner_rates" in path]
    np.testing.assert_array_equal(of.pop(rate), [0.0])
    assert all(np.abs(gradient).max() > 0 for gradient in of.values())


@pytest.mark.parametrize(
    ("bn_policy", "side_by_side"), [("batch", 3), ("support", 3), ("running", 1)]
)
def test_tasks_side_by_side_give_the_same_numbers(bn_policy, side_by_side, monkeypatch):
    """And moving averages, which each task moves, keep tasks one after another."""
    asked = []
    loop = tf.while_loop

    def recorded(*arguments, **options):
        asked.append(options["parallel_iterations"])
        return loop(*arguments, **options)

    monkeypatch.setattr(tf, "while_loop", recorded)
    episode, labels = EpisodeSpec(2, 2, 3, SHAPE).random_episode(meta_batch=3)

    def trained(**arguments):
        keras.utils.set_random_seed(0)
        backbone = Conv4(SHAPE, filters=4, num_pools=2)
        learner = MAML(backbone, ways=2, steps=2, bn_policy=bn_policy, **arguments)
        learner.compile(keras.optimizers.SGD(0.1))
        learner.train_on_batch(episode, labels)
        return learner

    alone, together = trained(), trained(parallel_tasks=3)
    assert asked == [1, side_by_side]
    for one, other in zip(alone.get_weights(), together.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert MAML.from_config(together.get_config()).parallel_tasks == 3


def test_no_task_side_by_side_is_refused():
    with pytest.raises(ValueError, match=r"`parallel_tasks` must be a whole number .*; received 0"):
        MAML(functional(), ways=2, parallel_tasks=0)


@pytest.mark.parametrize(
    ("make", "training", "calls"), [(MAML, True, 3), (MAML, False, 1), (Reptile, True, 1)]
)
def test_steps_are_written_out_where_training_differentiates_them(make, training, calls):
    """Each once where nothing does, so that the first call comes early."""
    learner = make(functional(), ways=2, steps=3)
    learner.compile("sgd")
    learner.build_optimizers()
    counted = []
    make_loss = learner.support_loss

    def support_loss(*arguments, **options):
        loss = make_loss(*arguments, **options)
        return lambda weights, step: counted.append(step) or loss(weights, step)

    learner.support_loss = support_loss
    data = EpisodeSpec(2, 1, 2, SHAPE).random_episode()
    function = learner.train_step if training else lambda data: learner(data[0])
    tf.function(function, autograph=False).get_concrete_function(data)
    assert len(counted) == calls


def test_reptile_has_no_tasks_side_by_side():
    with pytest.raises(TypeError, match="parallel_tasks"):
        Reptile(functional(), ways=2, parallel_tasks=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MAML(functional(), steps=1.5), "`steps` must be a whole number of at least 0"),
        (lambda: MAML(functional(), inner_rate="x"), "`inner_rate` must be a number; received 'x'"),
        (lambda: MAML(functional(), gradient_clip="x"), "`gradient_clip` must be a number of at"),
        (lambda: MAML(functional(), ways=2.5), "`ways` must be a whole number of at least 2"),
        (lambda: MAML(functional(), inner_rate=float("nan")), "`inner_rate` must be a number"),
        (lambda: MAML(functional(), augmentation=RandomAffine), "received the class RandomAffine"),
        (lambda: MAML(Conv4), "`backbone` must be a Keras model, such as @Conv4() with its br"),
        (lambda: MAML(functional), "`backbone` must be .*received the function functional"),
        (lambda: CAVIA(functional(), context_size=2.5), "`context_size` must be a whole number"),
        (lambda: Reptile(functional(), beta_1="x"), "`beta_1` must be a number"),
        (lambda: Reptile(functional(), scale="x"), "`scale` must be a positive number"),
        (lambda: MAML(functional(), objective=Regression(1.5)), "`width` must be a whole number"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(make, message):
    with pytest.raises(ValueError, match=message.replace("()", r"\(\)")):
        make()
