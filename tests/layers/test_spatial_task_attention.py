"""One layer of spatial and task attention."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.layers.spatial_task_attention import SPATIAL_ATTENTIONS, SpatialTaskAttention

BATCH, QUERIES, SUPPORTS, HEIGHT, WIDTH, CHANNELS, WAYS = 2, 7, 6, 5, 4, 9, 3


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    query_maps = rng.normal(size=(BATCH, QUERIES, HEIGHT, WIDTH, CHANNELS))
    return {
        "query": query_maps.mean((2, 3)),
        "support_maps": rng.normal(size=(BATCH, SUPPORTS, HEIGHT, WIDTH, CHANNELS)),
        "query_maps": query_maps,
        "one_hot": np.eye(WAYS)[rng.integers(0, WAYS, (BATCH, SUPPORTS))],
    }


@pytest.mark.parametrize("kind", SPATIAL_ATTENTIONS)
def test_features_are_weighted_sums_over_locations(kind):
    layer = SpatialTaskAttention(4, 4, 8, kind, dtype="float64")
    values = inputs()
    outputs = {name: np.asarray(value) for name, value in layer(**values).items()}
    on_support = outputs["spatial_attention_support"][..., None]
    supports = (on_support * values["support_maps"][:, None]).sum((3, 4))
    on_query = outputs["spatial_attention_query"][..., None]
    queries = (on_query * values["query_maps"]).sum((2, 3))
    context, attended, attention = layer.task(queries, supports, values["one_hot"])
    np.testing.assert_allclose(outputs["context"], context, rtol=1e-10)
    np.testing.assert_allclose(outputs["task_attention"], attention, rtol=1e-10)
    expected = np.concatenate([queries, attended], axis=-1)
    np.testing.assert_allclose(outputs["refined_query"], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kernel", ["query_kernel", "key_kernel"])
def test_without_a_spatial_matrix_it_is_uniform_attention(kernel):
    learned = SpatialTaskAttention(4, 4, 8, dtype="float64")
    uniform = SpatialTaskAttention(4, 4, 8, "uniform", dtype="float64")
    values = inputs()
    learned(**values), uniform(**values)
    getattr(learned.spatial, kernel).assign(np.zeros((CHANNELS, 4)))
    uniform.task.set_weights(learned.task.get_weights())
    outputs, expected = learned(**values), uniform(**values)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-12, atol=1e-15, err_msg=name)
    pooled = values["query_maps"].mean((2, 3))
    np.testing.assert_allclose(outputs["refined_query"][..., :CHANNELS], pooled, atol=1e-15)


def test_moving_locations_of_a_map_moves_nothing_else():
    layer = SpatialTaskAttention(4, 4, 8, dtype="float64")
    values = inputs()
    outputs = layer(**values)
    order = np.random.default_rng(1).permutation(HEIGHT * WIDTH)
    flat = values["support_maps"].reshape(BATCH, SUPPORTS, -1, CHANNELS)
    flat[:, 2] = flat[:, 2, order]
    values["support_maps"] = flat.reshape(BATCH, SUPPORTS, HEIGHT, WIDTH, CHANNELS)
    moved = layer(**values)
    for name in ("context", "refined_query", "task_attention", "spatial_attention_query"):
        np.testing.assert_allclose(moved[name], outputs[name], rtol=1e-10, err_msg=name)
    change = moved["spatial_attention_support"] - outputs["spatial_attention_support"]
    assert np.max(np.abs(change[:, :, 2])) > 1e-3


def test_no_map_for_each_pair_of_query_and_support_forwards_or_backwards():
    layer = SpatialTaskAttention(4, 4, 8)
    values = {name: tf.constant(value, "float32") for name, value in inputs().items()}
    layer(**values)

    @tf.function
    def gradients(values):
        with tf.GradientTape() as tape:
            tape.watch(values["support_maps"])
            outputs = layer(**values)
            loss = tf.reduce_sum(outputs["context"]) + tf.reduce_sum(outputs["refined_query"] ** 2)
        return tape.gradient(loss, [values["support_maps"], *layer.trainable_weights])

    operations = gradients.get_concrete_function(values).graph.get_operations()
    sizes = [
        output.shape.num_elements()
        for operation in operations
        for output in operation.outputs
        if output.shape.is_fully_defined()
    ]
    assert max(sizes) >= BATCH * SUPPORTS * HEIGHT * WIDTH * CHANNELS
    assert max(sizes) < BATCH * QUERIES * SUPPORTS * HEIGHT * WIDTH * CHANNELS / 2


@pytest.mark.parametrize("kind", SPATIAL_ATTENTIONS)
def test_config_round_trip(kind):
    layer = SpatialTaskAttention(4, 5, 6, kind, 0.5, name="sta", dtype="mixed_float16")
    copy = SpatialTaskAttention.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy(**inputs())["context"].dtype == "float16"


def test_kind_is_checked():
    with pytest.raises(ValueError, match="spatial_attention='centre'"):
        SpatialTaskAttention(spatial_attention="centre")
