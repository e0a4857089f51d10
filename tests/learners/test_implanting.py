"""Implants learnt from a support set: what the task learns, and what stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.resnet12 import ResNet12
from kfsl.episodes import EpisodeSpec
from kfsl.evaluation.evaluate import evaluate
from kfsl.learners.dense_classification import DenseClassification
from kfsl.learners.implanting import Implanting
from kfsl.training.initial_weights import copy_initial_weights
from tests.support import letters
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic, logits_of

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(16, 16, 1))
BASE = 5
SEED = np.array([4, 9])


def make(**arguments):
    keras.utils.set_random_seed(0)
    backbone = two_blocks((16, 16, 1), filters=6, bn_momentum=0.9)
    arguments = {
        "base_classes": BASE,
        "after": "block1_pool",
        "channels": 3,
        "updates": 4,
        "implant_scale": 100.0,
        **arguments,
    }
    return Implanting(backbone, **arguments)


class TestImplanting(LearnerContract):
    variants = (
        {},
        {"loss_pooling": "dense", "query_pooling": "average", "updates": 12, "rate": 1e-2},
    )
    spec = SPEC

    def make_learner(self, **arguments):
        return make(**arguments)

    # It has no weight that anything but a task trains: of the contract's tests of training what
    # can be asked of it is that nothing is trained.

    def test_every_weight_has_a_gradient(self, variant):
        assert make(**variant).trainable_weights == []

    def test_overfits_one_episode(self, learner):
        """Here the task's own loss falls, with every update that is added."""
        episode, _ = SPEC.random_episode()
        seen, one_hot = seen_of(learner, episode)
        loss = learner.leave_one_out_loss(seen, one_hot)
        found = []
        for updates in (0, 10, 100):
            learner.updates, learner.rate = updates, 1e-2
            found.append(float(loss(implants_of(learner, adapted(learner, episode)), 0)))
        assert found[2] < found[1] < found[0]
        assert found[2] < 0.5 * found[0]

    def test_padding_changes_no_gradient(self):
        assert make().trainable_weights == []

    def test_meta_batch_equals_episodes_alone(self, learner):
        """Of their own numbers: each draws its own implants."""
        episodes, _ = SPEC.random_episode(seed=2, meta_batch=4)
        alone = [
            logits_of(
                learner,
                {key: value[i : i + 1] for key, value in episodes.items()}
                | {"seed": SEED + np.array([0, i])},
            )
            for i in range(4)
        ]
        together = logits_of(learner, {**episodes, "seed": SEED})
        self.assert_same(together, np.concatenate(alone))

    def test_mixed_precision(self, variant, policy):
        keras.config.set_dtype_policy(policy)
        learner = generic(make(**variant))
        assert all(weight.dtype == "float32" for weight in learner.weights)
        logits = logits_of(learner, SPEC.random_episode()[0])
        assert logits.dtype == np.float32
        assert np.all(np.isfinite(logits))


def adapted(learner, episode, seed=SEED):
    features = learner.embed(episode["support_images"])
    return learner.adapt(features, episode["support_labels"], seed=seed)


def implants_of(learner, state):
    return [state[key][0] for key in learner.implanted.keys]


def seen_of(learner, episode):
    features = learner.embed(episode["support_images"])
    one_hot = learner.one_hot_support(episode["support_labels"])[0]
    return learner.implanted.see(features[0]), one_hot


def maps_of(learner, state, images):
    """The widened embedding by the whole backbone, image by image."""
    features = learner.embed(images)[0]
    network = learner.implanted
    return np.asarray(network.embed(network.see(features), implants_of(learner, state)))


@pytest.fixture
def episode():
    return SPEC.random_episode(seed=1)[0]


# === The equations, by brute force ===


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def vectors_of(maps, pooling):
    pooled = {"average": maps.mean(axis=(0, 1))[None], "max": maps.max(axis=(0, 1))[None]}
    return maps.reshape(-1, maps.shape[-1]) if pooling == "dense" else pooled[pooling]


@pytest.mark.parametrize("loss_pooling", ["average", "max", "dense"])
@pytest.mark.parametrize("support_pooling", ["average", "max"])
def test_each_image_is_left_out_of_the_prototypes_that_classify_it(
    loss_pooling, support_pooling, episode
):
    learner = generic(make(loss_pooling=loss_pooling, support_pooling=support_pooling))
    state = adapted(learner, episode)
    seen, one_hot = seen_of(learner, episode)
    found = learner.leave_one_out_loss(seen, one_hot)(implants_of(learner, state), 0)
    maps = maps_of(learner, state, episode["support_images"])
    labels = episode["support_labels"][0]
    supports = np.stack([vectors_of(each, support_pooling)[0] for each in maps])
    losses = []
    for i, label in enumerate(labels):
        rest = np.arange(len(labels)) != i
        prototypes = [supports[rest & (labels == c)].mean(axis=0) for c in range(3)]
        queries = vectors_of(maps[i], loss_pooling)
        logits = [[100.0 * cosine(q, p) for p in prototypes] for q in queries]
        losses.append(np.mean([-np.log(softmax(np.array(row))[label]) for row in logits]))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.parametrize("query_pooling", ["average", "dense"])
def test_queries_meet_the_prototypes_of_the_widened_embedding(query_pooling, episode):
    learner = generic(make(query_pooling=query_pooling))
    state = adapted(learner, episode)
    labels = episode["support_labels"][0]
    supports = maps_of(learner, state, episode["support_images"]).mean(axis=(1, 2))
    prototypes = np.stack([supports[labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(state["prototypes"][0], prototypes, rtol=1e-4, atol=1e-5)
    expected = []
    for each in maps_of(learner, state, episode["query_images"]):
        rows = [
            softmax(np.array([100.0 * cosine(q, p) for p in prototypes]))
            for q in vectors_of(each, query_pooling)
        ]
        expected.append(np.mean(rows, axis=0))
    outputs = learner.infer(state, learner.embed(episode["query_images"]))
    found = tf.nn.softmax(outputs["logits"][0])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_an_update_is_one_of_adamw(episode):
    """Beside Keras's optimiser on variables of the same values."""
    learner = generic(make(updates=3, rate=1e-2, decay=0.5))
    seen, one_hot = seen_of(learner, episode)
    loss = learner.leave_one_out_loss(seen, one_hot)
    start = learner.implanted.start(SEED)
    variables = [keras.Variable(value) for value in start.values()]
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=0.5)
    for _ in range(3):
        with tf.GradientTape() as tape:
            value = loss([tf.convert_to_tensor(v) for v in variables], 0)
        optimizer.apply(tape.gradient(value, [v.value for v in variables]), variables)
    found = implants_of(learner, adapted(learner, episode))
    for one, other in zip(found, variables, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-3, atol=1e-5)


def test_without_updates_and_kernels_it_is_the_frozen_network(episode):
    learner = generic(make(updates=0, gain=0.0, query_pooling="dense"))
    plain = DenseClassification(learner.backbone, BASE)
    plain.scale.assign(100.0)
    np.testing.assert_allclose(
        tf.nn.softmax(logits_of(learner, episode)),
        tf.nn.softmax(logits_of(plain, episode)),
        rtol=1e-3,
        atol=1e-6,
    )


# === What stays ===


def test_the_network_stays_as_it_was_to_the_bit(episode):
    learner = generic(make(updates=20, rate=0.1))
    before = [weight.numpy() for weight in learner.weights]
    learner(episode, training=True)
    learner(episode)
    for weight, value in zip(learner.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_no_task_leaves_a_trace_in_the_next(episode):
    learner = generic(make(updates=6, rate=1e-2))
    other = SPEC.random_episode(seed=7)[0]
    first, _, again = (adapted(learner, each) for each in (episode, other, episode))
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    # Another seed draws other implants.
    another = adapted(learner, episode, seed=np.array([4, 10]))
    key = learner.implanted.keys[0]
    assert np.abs(first[key] - another[key]).max() > 1e-3


def test_base_classes_are_answered_as_before_implanting(episode):
    learner = generic(make(query_pooling="average"))
    plain = DenseClassification(learner.backbone, BASE, query_pooling="average")
    for own, others in ((learner.class_weights, plain.class_weights), (learner.scale, plain.scale)):
        others.assign(own)
    batch = {"query_images": episode["query_images"]}
    np.testing.assert_allclose(learner(batch)["logits"], plain(batch)["logits"], rtol=1e-5)


def test_it_begins_with_all_weights_of_the_first_stage(tmp_path):
    trained = generic(DenseClassification(two_blocks((16, 16, 1), filters=6), BASE))
    trained.save(tmp_path / "learner.keras")
    learner = make()
    start = copy_initial_weights(learner, str(tmp_path / "learner.keras"))
    assert start.own == ()
    assert {"class_weights", "scale"} <= set(start.copied)
    np.testing.assert_array_equal(learner.class_weights, trained.class_weights)


# === What is refused ===


def test_a_single_image_of_a_class_is_refused(episode):
    learner = make()
    features = learner.embed(episode["support_images"])
    labels = np.array([[0, 0, 1, 1, 2, 2]])
    one = np.array([[0, 0, 1, 1, 1, 2]])
    with pytest.raises(ValueError, match=r"Implanting needs at least 2 .* Received 1"):
        learner.adapt(features, one)
    mask = np.array([[True, True, True, True, True, False]])
    with pytest.raises(ValueError, match="Received 1"):
        learner.adapt(features, labels, mask=mask)
    served = tf.function(lambda labels: learner.adapt(features, labels)["prototypes"])
    assert served(tf.constant(labels)).shape[1] == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match="Implanting needs at least 2"):
        served(tf.constant(one))


def test_an_evaluation_of_one_shot_is_refused_in_one_line(store):
    backbone = two_blocks(letters.SHAPE, filters=4)
    learner = Implanting(backbone, BASE, after="block1_pool", channels=2, updates=2)
    experiment = letters.experiment(store, learner=learner)  # Of one shot.
    with pytest.raises(ValueError, match="Implanting needs at least 2 support images"):
        evaluate(experiment, episodes=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": -1}, "`updates` must be .*received -1"),
        ({"rate": 0.0}, "`rate` must be a positive number"),
        ({"loss_pooling": "flatten"}, "`loss_pooling` must be one of"),
        ({"implant_scale": -1.0}, "`implant_scale` must be a positive number"),
        ({"after": "block2_pool"}, "Nothing comes behind 'block2_pool'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_it_cannot_tell_base_and_new_classes_apart_together(episode):
    learner = make()
    state = adapted(learner, episode)
    with pytest.raises(ValueError, match="do not know the implants"):
        learner.classify_jointly(state, learner.embed(episode["query_images"]))


def test_the_papers_network_keeps_its_size():
    learner = Implanting(ResNet12((84, 84, 3)), base_classes=64)
    counted = sum(int(np.prod(w.shape)) for w in learner.weights if "moving" not in w.path)
    assert counted == 7_996_800 + 64 * 512 + 1
    assert learner.implanted.trunk.output_shape == (None, 10, 10, 256)
    assert learner.implanted.stream.output_shape == (None, 5, 5, 528)
