"""Dense classification against its equations, location by location."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.resnet12 import ResNet12
from kfsl.episodes import EpisodeSpec
from kfsl.learners.dense_classification import DenseClassification
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract, generic

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(16, 16, 1))
BASE = 5


def make(**arguments):
    backbone = two_blocks((16, 16, 1), filters=8, bn_momentum=0.9)
    return DenseClassification(backbone, **{"base_classes": BASE, "scale": 100.0, **arguments})


def base_batch(images=12, seed=0, meta_batch=1):
    rng = np.random.default_rng(seed)
    batch = {
        "query_images": rng.integers(0, 256, (meta_batch, images, 16, 16, 1)).astype("uint8"),
        "query_classes": np.tile(np.arange(images) % BASE, (meta_batch, 1)).astype("int32"),
    }
    return batch, batch["query_classes"]


class TestDenseClassification(LearnerContract):
    variants = (
        {},
        {"reading": "average", "support_pooling": "max"},
        {"reading": "flatten", "moments": "episode"},
    )
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }
    spec = SPEC

    def make_learner(self, **arguments):
        return make(**arguments)

    def training_episode(self, seed=0, meta_batch=1):
        return base_batch(seed=seed, meta_batch=meta_batch)


# === The equations, by plain loops ===


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def scaled(vector, rows, scale):
    return np.array([scale * cosine(vector, row) for row in rows])


def maps_of(images=4, size=3, channels=8, seed=0):
    """Random maps, `[1, images, size, size, channels]`, as a backbone would give them."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, images, size, size, channels)).astype("float32")


def probabilities(outputs):
    return softmax(np.asarray(outputs["logits"], "float64"))[0]


POOLED = {"average": np.mean, "max": np.max}


@pytest.mark.parametrize("reading", ["average", "dense"])
def test_the_loss_is_the_mean_cross_entropy_over_images_and_locations(reading):
    learner = generic(make(reading=reading))
    maps, labels = maps_of(), np.array([[0, 3, 1, 4]])
    weights, scale = learner.class_weights.numpy(), float(learner.scale)
    losses = []
    for image, label in zip(maps[0], labels[0], strict=True):
        vectors = image.reshape(-1, 8) if reading == "dense" else [image.mean(axis=(0, 1))]
        losses += [-np.log(softmax(scaled(v, weights, scale))[label]) for v in vectors]
    outputs = learner.classify_base(maps, training=True)
    (found,) = learner.loss_parts({}, labels, outputs).values()
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("support", ["average", "max"])
@pytest.mark.parametrize("query", ["average", "max", "dense"])
def test_new_classes_are_means_and_a_dense_answer_is_a_mean_of_softmaxes(support, query):
    learner = generic(make(support_pooling=support, query_pooling=query))
    maps, queries = maps_of(6, seed=1), maps_of(2, seed=2)
    labels = np.array([[0, 1, 2, 0, 1, 2]])
    pooled = POOLED[support](maps[0], axis=(1, 2))
    prototypes = np.stack([pooled[labels[0] == label].mean(axis=0) for label in range(3)])
    scale = float(learner.scale)
    expected = []
    for image in queries[0]:
        vectors = image.reshape(-1, 8) if query == "dense" else [POOLED[query](image, axis=(0, 1))]
        expected.append(np.mean([softmax(scaled(v, prototypes, scale)) for v in vectors], axis=0))
    state = learner.adapt(maps, labels)
    np.testing.assert_allclose(state["prototypes"][0], prototypes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        probabilities(learner.infer(state, queries)), expected, rtol=1e-4, atol=1e-6
    )


def test_dense_weights_are_a_convolution_of_size_one():
    learner = generic(make())
    maps = maps_of(2)[0]
    unit = maps / np.linalg.norm(maps, axis=-1, keepdims=True)
    rows = learner.class_weights.numpy()
    kernel = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).T[None, None]
    convolved = float(learner.scale) * keras.ops.conv(unit, kernel)
    outputs = learner.classify_base(maps[None], training=True)
    found = np.reshape(outputs["location_logits"], (2, 3, 3, BASE))
    np.testing.assert_allclose(found, convolved, rtol=1e-4, atol=1e-5)


# === Invariants ===


@pytest.mark.parametrize("constant", [False, True], ids=["one location", "constant maps"])
def test_where_locations_do_not_differ_dense_is_pooled(constant):
    maps = maps_of(6, size=1)
    if constant:
        maps = np.broadcast_to(maps, (1, 6, 3, 3, 8))
    dense, pooled = (generic(make(reading=reading)) for reading in ("dense", "average"))
    labels = np.array([[0, 1, 2, 0, 1, 2]])
    pooled.set_weights(dense.get_weights())
    losses = [
        float(each.loss_parts({}, labels, each.classify_base(maps, training=True))["task"])
        for each in (dense, pooled)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    answers = [
        probabilities(each.infer(each.adapt(maps, labels), maps)) for each in (dense, pooled)
    ]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-6)


def test_lengths_do_not_matter():
    learner = generic(make())
    maps = maps_of()
    factors = np.random.default_rng(3).uniform(0.1, 9.0, size=(1, 4, 3, 3, 1)).astype("float32")
    before = probabilities(learner.classify_base(maps))
    np.testing.assert_allclose(
        probabilities(learner.classify_base(maps * factors)), before, rtol=1e-4
    )
    learner.class_weights.assign(learner.class_weights * np.array([[0.2], [7.0], [1], [3], [5]]))
    np.testing.assert_allclose(probabilities(learner.classify_base(maps)), before, rtol=1e-4)


def test_without_scale_nothing_is_told_apart():
    learner = generic(make())
    learner.scale.assign(1e-6)
    outputs = learner.classify_base(maps_of(), training=True)
    np.testing.assert_allclose(probabilities(outputs), 1 / BASE, rtol=1e-5)
    loss = learner.loss_parts({}, np.zeros((1, 4), "int32"), outputs)["task"]
    assert float(loss) == pytest.approx(np.log(BASE), rel=1e-5)


def test_the_order_of_locations_does_not_matter():
    learner = generic(make())
    maps = maps_of()
    order = np.random.default_rng(4).permutation(9)
    shuffled = maps.reshape(1, 4, 9, 8)[:, :, order].reshape(maps.shape)
    state = learner.adapt(maps, np.array([[0, 1, 2, 0]]))
    np.testing.assert_allclose(
        probabilities(learner.infer(state, shuffled)),
        probabilities(learner.infer(state, maps)),
        rtol=1e-5,
    )


def test_maps_are_pooled_before_they_are_normalised():
    keras.utils.set_random_seed(0)
    # A scale that leaves probabilities between 0 and 1.
    learner = generic(make(reading="average", scale=10.0))
    maps = maps_of(1)
    maps[0, 0, 0, 0] *= 50.0  # One loud location rules the mean.
    mean_of_units = (maps / np.linalg.norm(maps, axis=-1, keepdims=True)).mean(axis=(2, 3))
    rows, scale = learner.class_weights.numpy(), float(learner.scale)
    found = probabilities(learner.classify_base(maps))[0]
    pooled_first = softmax(scaled(maps[0, 0].mean(axis=(0, 1)), rows, scale))
    np.testing.assert_allclose(found, pooled_first, rtol=1e-4)
    assert np.abs(found - softmax(scaled(mean_of_units[0, 0], rows, scale))).max() > 0.01


# === Base and new classes together ===


@pytest.mark.parametrize("query_pooling", ["average", "dense"])
def test_new_classes_are_imprinted_beside_the_base_classes(query_pooling):
    learner = generic(make(query_pooling=query_pooling))
    maps, queries = maps_of(6, seed=1), maps_of(2, seed=2)
    state = learner.adapt(maps, np.array([[0, 1, 2, 0, 1, 2]]))
    rows = np.concatenate([learner.class_weights.numpy(), state["prototypes"][0]])
    scale = float(learner.scale)
    expected = []
    for image in queries[0]:
        vectors = image.reshape(-1, 8) if query_pooling == "dense" else [image.mean(axis=(0, 1))]
        expected.append(np.mean([softmax(scaled(v, rows, scale)) for v in vectors], axis=0))
    joint = learner.classify_jointly(state, queries)
    assert joint["logits"].shape == (1, 2, BASE + 3)
    np.testing.assert_allclose(probabilities(joint), expected, rtol=1e-4, atol=1e-6)


def test_new_classes_leave_the_logits_of_the_base_classes_alone():
    learner = generic(make(reading="average"))
    maps = maps_of(4)
    state = learner.adapt(maps, np.array([[0, 1, 2, 0]]))
    joint = learner.classify_jointly(state, maps)["logits"]
    alone = learner.classify_base(maps)["logits"]
    np.testing.assert_allclose(joint[..., :BASE], alone, rtol=1e-5)


def test_a_class_without_support_image_is_impossible_jointly_too():
    learner = generic(make(ways=4))
    maps = maps_of(4)
    state = learner.adapt(maps, np.array([[0, 1, 3, 0]]))
    found = probabilities(learner.classify_jointly(state, maps))
    np.testing.assert_array_equal(found[:, BASE + 2], 0.0)
    assert np.all(found[:, [BASE, BASE + 1, BASE + 3]] > 0.0)


# === Sizes and errors ===


@pytest.mark.parametrize(
    ("backbone", "count"),
    [
        (lambda: ResNet12((84, 84, 3)), 7_996_800),
        (lambda: ResNet12((84, 84, 3), filters=(64, 128, 256, 528)), 8_337_408),
        (
            lambda: Conv4((84, 84, 3), (64, 64, 128, 128), use_bias=False, activate_last=False),
            260_544,
        ),
    ],
    ids=["ResNet-12", "wide", "C128F"],
)
def test_parameters_of_the_papers_networks(backbone, count):
    network = backbone()
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == count
    learner = DenseClassification(network, base_classes=64)
    depth = network.output_shape[-1]
    own = sum(int(np.prod(w.shape)) for w in learner.trainable_weights) - count
    assert own == 64 * depth + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_classes": 1}, "`base_classes` must be .*received 1"),
        ({"reading": "max"}, "`reading` must be one of"),
        ({"scale": 0.0}, "`scale` must be a positive number; received 0.0"),
        ({"support_pooling": "dense"}, "`support_pooling` must be one of"),
        ({"query_pooling": "flatten"}, "Flatten both, or neither"),
        ({"bn_policy": "support"}, "base classes have no support set; received .*'support'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_backbone_without_maps_or_size_is_refused():
    images = keras.Input((16, 16, 1))
    flat = keras.Model(images, keras.layers.Flatten()(images), name="flat")
    with pytest.raises(ValueError, match=r"'flat' gives \(None, 256\)"):
        DenseClassification(flat, base_classes=5)
    free = two_blocks((None, None, 1), filters=4)
    with pytest.raises(ValueError, match="needs a backbone for one size of images"):
        DenseClassification(free, base_classes=5, reading="flatten")


def test_vectors_of_two_forms_are_not_compared_jointly():
    learner = make(support_pooling="flatten", query_pooling="flatten")
    maps = np.zeros((1, 2, 4, 4, 8), "float32")
    state = learner.adapt(maps, np.array([[0, 1]]))
    with pytest.raises(ValueError, match="their vectors cannot be compared"):
        learner.classify_jointly(state, maps)
