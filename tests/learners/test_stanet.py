"""STANet: its equations, its invariants, its sizes and its errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.stanet import STANet
from kfsl.objectives.classification import Classification
from tests.support.contract import LearnerContract, generic, logits_of, loss_gradients, with_padding

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(16, 16, 1))
CLASSES = 6  # Pool of classes of SPEC's random episodes.


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def make(**arguments):
    backbone = Conv4(image_shape=(None, None, 1), filters=8, num_pools=2, bn_momentum=0.9)
    arguments = {"ways": 3, "value_dim": 12, "spatial_key_dim": 6, "task_key_dim": 7, **arguments}
    return STANet(backbone, **arguments)


class TestSTANet(LearnerContract):
    variants = (
        {"semantic_classes": CLASSES},
        {"num_layers": 1, "spatial_attention": "uniform", "moments": "episode"},
        {"num_layers": 2, "spatial_attention": "gaussian", "bn_policy": "support"},
    )
    zero_gradients = {
        "conv/bias": "a bias before batch normalisation is subtracted with the mean",
    }

    def make_learner(self, **arguments):
        return make(**arguments)


# === The paper's equations, query by query ===


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def attend_to_locations(layer, asking, maps):
    """(3) and (4): one attention map for each of `maps` [n, locations, C]."""
    keys = maps @ layer.spatial.key_kernel.numpy()
    query = asking @ layer.spatial.query_kernel.numpy()
    return np.stack([softmax(key @ query / np.sqrt(layer.spatial.key_dim)) for key in keys])


def one_query(learner, supports, labels, query):
    """Logits of one query, from maps [S, locations, C] and [locations, C]."""
    asking, contexts = query.mean(0), []
    for layer in learner.attention_layers:
        on_supports = attend_to_locations(layer, asking, supports)
        on_query = attend_to_locations(layer, asking, query[None])[0]
        z_supports = np.einsum("sl,slc->sc", on_supports, supports)
        z_query = on_query @ query
        keys = z_supports @ layer.task.key_kernel.numpy()
        scores = keys @ (z_query @ layer.task.query_kernel.numpy())
        attention = softmax(scores / np.sqrt(layer.task.key_dim))
        values = np.concatenate([z_supports, np.eye(learner.ways)[labels]], axis=1)
        contexts.append(attention @ (values @ layer.task.value_kernel.numpy()))
        asking = np.concatenate([z_query, attention @ z_supports])
    return np.concatenate(contexts) @ learner.classifier.kernel.numpy()


def flat_maps(learner, images):
    maps = np.asarray(learner.embed(images))
    return maps.reshape(*maps.shape[:2], -1, maps.shape[-1])


def sharp(**arguments):
    """A float64 STANet whose features are of size 1 and whose attention is far from uniform."""
    backbone = Conv4(
        image_shape=(None, None, 1), filters=8, num_pools=2, bn_momentum=0.0, dtype="float64"
    )
    sizes = {"ways": 3, "value_dim": 12, "spatial_key_dim": 6, "task_key_dim": 7}
    learner = generic(STANet(backbone, **{**sizes, **arguments}, dtype="float64"))
    learner(SPEC.random_episode(meta_batch=4)[0], training=True)
    for weight in learner.weights:
        if "query_kernel" in weight.path or "key_kernel" in weight.path:
            weight.assign(4.0 * weight)
    return learner


@pytest.mark.parametrize("num_layers", [1, 3])
def test_equations_for_each_query(num_layers):
    learner = sharp(num_layers=num_layers)
    episode, _ = SPEC.random_episode(seed=4, meta_batch=2)
    outputs = learner(episode)
    assert np.max(outputs["task_attention"]) > 0.3  # Uniform is 1 / 6.
    supports, queries = (flat_maps(learner, episode[f"{p}_images"]) for p in ("support", "query"))
    for b in range(2):
        for q in range(SPEC.query_size):
            expected = one_query(learner, supports[b], episode["support_labels"][b], queries[b, q])
            np.testing.assert_allclose(outputs["logits"][b, q], expected, rtol=1e-8)


# === Invariants ===


@pytest.fixture
def episode():
    return SPEC.random_episode(seed=1)[0]


def zero(*weights):
    for weight in weights:
        weight.assign(np.zeros(weight.shape))


def test_attentions_are_distributions(episode):
    outputs = sharp()(episode)
    queries, supports = SPEC.query_size, SPEC.support_size
    shapes = {
        "task_attention": (1, 3, queries, supports),
        "spatial_attention_support": (1, 3, queries, supports, 4, 4),
        "spatial_attention_query": (1, 3, queries, 4, 4),
    }
    for name, shape in shapes.items():
        attention = np.asarray(outputs[name])
        assert attention.shape == shape
        assert np.all(attention >= 0)
        axes = -1 if name == "task_attention" else (-1, -2)
        np.testing.assert_allclose(attention.sum(axes), 1.0, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["query_kernel", "key_kernel"])
def test_without_spatial_matrices_it_is_the_uniform_ablation(kernel, episode):
    learner, uniform = sharp(), sharp(spatial_attention="uniform")
    for layer in learner.attention_layers:
        zero(getattr(layer.spatial, kernel))
    uniform.backbone.set_weights(learner.backbone.get_weights())
    uniform.classifier.set_weights(learner.classifier.get_weights())
    for mine, other in zip(uniform.attention_layers, learner.attention_layers, strict=True):
        mine.task.set_weights(other.task.get_weights())
    outputs = learner(episode)
    np.testing.assert_array_equal(outputs["spatial_attention_support"], 1 / 16)
    np.testing.assert_allclose(outputs["logits"], logits_of(uniform, episode), rtol=1e-10)


def test_without_task_queries_and_spatial_attention_all_queries_look_alike(episode):
    learner = sharp(spatial_attention="uniform")
    before = logits_of(learner, episode)
    assert np.max(np.ptp(before, axis=1)) > 1e-4
    for layer in learner.attention_layers:
        zero(layer.task.query_kernel)
    outputs = learner(episode)
    np.testing.assert_array_equal(outputs["task_attention"], 1 / SPEC.support_size)
    logits = np.asarray(outputs["logits"])
    np.testing.assert_allclose(logits, np.broadcast_to(logits[:, :1], logits.shape), rtol=1e-10)


def test_label_copying_weights_give_attention_per_class(episode):
    learner = sharp(num_layers=1, value_dim=3)
    channels = learner.backbone.output_shape[-1]
    kernel = np.concatenate([np.zeros((channels, 3)), np.eye(3)])
    learner.attention_layers[0].task.value_kernel.assign(kernel)
    learner.classifier.kernel.assign(np.eye(3))
    outputs = learner(episode)
    one_hot = np.eye(3)[episode["support_labels"]]
    per_class = np.einsum("bqs,bsn->bqn", outputs["task_attention"][:, 0], one_hot)
    np.testing.assert_allclose(outputs["logits"], per_class, rtol=1e-10)


def test_later_layers_without_output_weights_change_nothing(episode):
    three, one = sharp(num_layers=3), sharp(num_layers=1)
    kernel = three.classifier.kernel.numpy()
    kernel[12:] = 0.0
    three.classifier.kernel.assign(kernel)
    one.backbone.set_weights(three.backbone.get_weights())
    one.attention_layers[0].set_weights(three.attention_layers[0].get_weights())
    one.classifier.kernel.assign(kernel[:12])
    np.testing.assert_allclose(logits_of(three, episode), logits_of(one, episode), rtol=1e-10)


def test_supports_are_seen_through_the_query(episode):
    learner = sharp(num_layers=1)
    changed = {**episode, "query_images": 255 - episode["query_images"]}

    def change():
        name = "spatial_attention_support"
        return np.max(np.abs(learner(changed)[name] - learner(episode)[name]))

    assert change() > 1e-3
    zero(learner.attention_layers[0].spatial.query_kernel)
    assert change() == 0.0


def test_one_location_leaves_spatial_attention_nothing_to_choose(episode):
    backbone = Conv4(image_shape=(16, 16, 1), filters=8, num_pools=4)
    outputs = generic(STANet(backbone, ways=3))(episode)
    np.testing.assert_array_equal(outputs["spatial_attention_support"], 1.0)
    np.testing.assert_array_equal(outputs["spatial_attention_query"], 1.0)


# === The semantic branch ===


def test_loss_is_the_task_loss_plus_lambda_times_the_mean_over_all_images():
    learner = generic(make(semantic_classes=CLASSES, semantic_weight=0.3))
    episode, labels = SPEC.random_episode(seed=1, meta_batch=2)
    outputs = learner(episode, training=True)
    parts = learner.loss_parts(episode, labels, outputs)
    assert tuple(parts) == learner.loss_names == ("task", "semantic")
    losses = []
    for part in ("support", "query"):
        logits = np.asarray(outputs[f"semantic_{part}_logits"], "float64")
        picked = np.take_along_axis(logits, episode[f"{part}_classes"][..., None], -1)[..., 0]
        losses.append(np.log(np.exp(logits).sum(-1)) - picked)
    expected = 0.3 * np.concatenate(losses, axis=1).mean()
    np.testing.assert_allclose(parts["semantic"], expected, rtol=1e-5)
    np.testing.assert_allclose(parts["task"], Classification().loss(labels, outputs["logits"]))
    total = learner.compute_loss(episode, labels, outputs)
    np.testing.assert_allclose(total, parts["task"] + parts["semantic"], rtol=1e-6)


def test_semantic_logits_are_of_average_pooled_maps(episode):
    learner = generic(make(semantic_classes=CLASSES))
    maps = learner.embed(episode["query_images"])
    pooled = np.asarray(maps).mean((2, 3))
    kernel, bias = (weight.numpy() for weight in learner.semantic_classifier.weights)
    np.testing.assert_allclose(learner.semantic_logits(maps), pooled @ kernel + bias, rtol=1e-4)


def test_without_weight_the_semantic_branch_is_not_trained():
    learner = generic(make(semantic_classes=CLASSES, semantic_weight=0.0))
    gradients = loss_gradients(learner, *SPEC.random_episode())
    branch = [gradient for path, gradient in gradients.items() if "semantic" in path]
    assert len(branch) == 2
    for gradient in branch:
        np.testing.assert_array_equal(gradient, 0.0)


def test_semantic_labels_do_not_reach_the_prediction(episode):
    learner = generic(make(semantic_classes=CLASSES))
    other = {**episode, "support_classes": 5 - episode["support_classes"]}
    for training in (False, True):
        logits = [np.asarray(learner(e, training=training)["logits"]) for e in (episode, other)]
        np.testing.assert_array_equal(*logits)
    assert not [name for name in learner(episode) if name.startswith("semantic")]


def test_padding_does_not_enter_the_semantic_loss():
    learner = generic(make(semantic_classes=CLASSES))
    episode, labels = SPEC.random_episode(seed=1, meta_batch=2)
    padded = with_padding(episode, rows=4)
    losses = [
        learner.loss_parts(e, labels, learner(e, training=True))["semantic"]
        for e in (episode, padded)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


# === Precision ===


def test_attention_and_logits_are_full_precision_under_mixed_float16(episode):
    learner = generic(make(dtype="mixed_float16"))
    state = learner.adapt(
        tf.cast(1000 * learner.embed(episode["support_images"]), "float16"),
        episode["support_labels"],
    )
    queries = tf.cast(1000 * learner.embed(episode["query_images"]), "float16")
    for name, value in learner.infer(state, queries).items():
        assert value.dtype == "float32", name
        assert np.all(np.isfinite(value)), name
