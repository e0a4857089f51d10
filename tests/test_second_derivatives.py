"""Second derivatives of every layer that kfsl uses, in float64, against differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.analysis.second_order.audit import TOLERANCE, second_order_error
from kfsl.gradients import value_and_grad
from kfsl.layers.cosine import CosineSimilarity
from kfsl.layers.film import FiLM
from kfsl.layers.gradient_modulation import GradientModulation
from kfsl.layers.group_normalization import GroupNormalization
from kfsl.layers.layer_normalization import LayerNormalization
from kfsl.layers.normalization import BatchNormalization
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.spatial_task_attention import SpatialTaskAttention

MAPS, VECTORS = (3, 6, 6, 4), (6, 5)
EXACT = {
    "BatchNormalization": (BatchNormalization, MAPS),
    "LayerNormalization": (LayerNormalization, VECTORS),
    "GroupNormalization": (lambda **kw: GroupNormalization(2, **kw), MAPS),
    "PixelNormalization": (lambda **kw: PixelNormalization(scale=1.0, **kw), MAPS),
    "Conv2D": (lambda **kw: keras.layers.Conv2D(3, 3, padding="same", **kw), MAPS),
    "strided Conv2D": (lambda **kw: keras.layers.Conv2D(3, 3, strides=2, **kw), MAPS),
    "Dense": (lambda **kw: keras.layers.Dense(3, **kw), VECTORS),
    "MaxPooling2D": (keras.layers.MaxPooling2D, MAPS),
    "AveragePooling2D": (lambda **kw: keras.layers.AveragePooling2D(2, **kw), MAPS),
    "GlobalAveragePooling2D": (keras.layers.GlobalAveragePooling2D, MAPS),
    "Flatten": (keras.layers.Flatten, MAPS),
    "Dropout": (lambda **kw: keras.layers.Dropout(0.3, **kw), VECTORS),
}
EXACT |= {
    name: (lambda name=name, **kw: keras.layers.Activation(name, **kw), VECTORS)
    for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "softmax", "softplus")
}
WRONG = {
    "BatchNormalization": (keras.layers.BatchNormalization, MAPS),
    "LayerNormalization": (keras.layers.LayerNormalization, VECTORS),
    "GroupNormalization": (lambda **kw: keras.layers.GroupNormalization(2, **kw), MAPS),
}


def layer_error(make, shape):
    keras.utils.set_random_seed(0)
    layer, inputs = make(dtype="float64"), np.random.default_rng(0).normal(size=shape)
    layer(inputs)
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(weight + 0.3 * np.random.default_rng(i).normal(size=weight.shape))
    return second_order_error(layer, inputs)


@pytest.mark.parametrize(("make", "shape"), EXACT.values(), ids=list(EXACT))
def test_second_derivatives_of_layers_in_use(make, shape):
    assert layer_error(make, shape) < 0.01 * TOLERANCE


@pytest.mark.parametrize(("make", "shape"), WRONG.values(), ids=list(WRONG))
def test_second_derivatives_of_stock_normalisations_are_wrong(make, shape):
    """If this fails, Keras has been mended."""
    assert layer_error(make, shape) > 100 * TOLERANCE


SEVERAL_INPUTS = {
    "CosineSimilarity": (lambda **kw: CosineSimilarity("both", **kw), [(2, 3, 4), (2, 5, 4)]),
    "FiLM": (lambda **kw: FiLM(True, True, **kw), [MAPS, (3, 4), (3, 4)]),
    "GradientModulation": (lambda **kw: GradientModulation((3, 4), 2, **kw), [(2, 5)]),
    "SpatialTaskAttention": (
        lambda **kw: SpatialTaskAttention(3, 3, 3, **kw),
        [(1, 2, 4), (1, 3, 2, 2, 4), (1, 2, 2, 2, 4), (1, 3, 2)],
    ),
    "Gaussian SpatialTaskAttention": (
        lambda **kw: SpatialTaskAttention(3, 3, 3, "gaussian", **kw),
        [(1, 2, 4), (1, 3, 2, 2, 4), (1, 2, 2, 2, 4), (1, 3, 2)],
    ),
}


@pytest.mark.parametrize(("make", "shapes"), SEVERAL_INPUTS.values(), ids=list(SEVERAL_INPUTS))
def test_second_derivatives_of_layers_of_several_inputs(make, shapes):
    keras.utils.set_random_seed(0)
    layer, rng = make(dtype="float64"), np.random.default_rng(0)
    inputs = [rng.normal(size=shape) for shape in shapes]
    layer(*inputs)
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(weight + 0.3 * np.random.default_rng(i).normal(size=weight.shape))
    assert second_order_error(layer, *inputs) < 0.01 * TOLERANCE


def test_gradients_of_embeddings_are_tensors():
    (found,) = value_and_grad(
        lambda w: tf.reduce_sum(tf.gather(w[0], [0, 2, 2])), [tf.zeros([3, 2])]
    )[1]
    np.testing.assert_array_equal(found, [[1, 1], [0, 0], [2, 2]])
