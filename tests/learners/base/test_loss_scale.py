"""In float16 all optimisers of a learner step together, skip together, and have one scale."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.meta_sgd import MetaSGD
from kfsl.learners.simple_shot import SimpleShot
from kfsl.learners.stanet import STANet

SHAPE = (8, 8, 1)


def stanet(*parts: str) -> STANet:
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2, dtype="mixed_float16")
    learner = STANet(backbone, ways=3, semantic_classes=5, dtype="mixed_float16")
    return compiled(learner, *parts)


def compiled(learner, *parts: str):
    of_parts = {part: keras.optimizers.Adam(0.01) for part in parts}
    learner.compile(keras.optimizers.Adam(0.01), part_optimizers=of_parts)
    learner.build_optimizers()
    return learner


def gradients(learner, part: str, value: float) -> list[tf.Tensor]:
    """Ones in the learner's scale, but for one number of a part."""
    scale = learner.scale_loss(1.0)
    found = {id(w): scale * np.ones(w.shape, "float32") for w in learner.trainable_weights}
    first = learner.weight_parts()[part][0]
    found[id(first)] = np.array(found[id(first)])
    found[id(first)].flat[0] = scale * value
    return [tf.constant(found[id(w)]) for w in learner.trainable_weights]


ALL = ("backbone", "attention", "classifier")


@pytest.mark.parametrize("parts", [("attention",), ("backbone", "classifier"), ALL])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_overflows_in_a_part_is_skipped_by_all_and_lowers_the_scale(parts, value):
    learner = stanet(*parts)
    assert set(learner.weight_parts()) == set(ALL)
    used = [o for o, weights in learner._weights_of_optimizers() if weights]
    learner.update_weights(gradients(learner, parts[0], 1.0))
    before = [np.array(w) for w in learner.trainable_weights]
    scale = float(learner.scale_loss(1.0))
    learner.update_weights(gradients(learner, parts[-1], value))
    assert float(learner.scale_loss(1.0)) == scale / 2
    assert {float(o.scale_loss(1.0)) for o in used} == {scale / 2}
    assert {int(o.iterations) for o in used} == {1}
    for weight, old in zip(learner.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    learner.update_weights(gradients(learner, parts[0], 1.0))
    # Adam moves each weight by its rate where all gradients are alike.
    for weight, old in zip(learner.trainable_weights, before, strict=True):
        np.testing.assert_allclose(weight, old - 0.01, atol=1e-4)


def test_in_single_precision_nothing_is_skipped():
    """What diverges shows, and takes no other part along."""
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2)
    learner = compiled(MetaSGD(backbone, ways=3), "rates")
    learner.update_weights(gradients(learner, "rates", np.nan))
    (rates,) = ([np.array(w) for w in part] for part in learner.weight_parts().values())
    assert np.isnan(rates[0]).sum() == 1
    assert all(np.isfinite(weight).all() for weight in learner.network.trainable_weights)


def test_a_learner_that_trains_nothing_has_a_scale():
    learner = SimpleShot(Conv4(image_shape=SHAPE, filters=4, num_pools=2))
    learner.compile(keras.optimizers.SGD(0.0))
    assert learner.scale_loss(3.0) == 3.0


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_parts_step_as_the_whole_does(precision):
    weights = []
    for parts in ((), ("rates",)):
        keras.utils.set_random_seed(0)
        backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2, dtype=precision)
        learner = compiled(MetaSGD(backbone, ways=3, dtype=precision), *parts)
        rng = np.random.default_rng(0)
        scale = learner.scale_loss(1.0)
        for _ in range(3):
            drawn = [rng.normal(size=w.shape).astype("float32") for w in learner.trainable_weights]
            learner.update_weights([tf.constant(g) * scale for g in drawn])
        weights.append([np.array(w) for w in learner.trainable_weights])
    for whole, in_parts in zip(*weights, strict=True):
        np.testing.assert_array_equal(whole, in_parts)


def test_a_weight_of_a_part_without_gradient_stays():
    learner = stanet("attention")
    given = gradients(learner, "attention", 1.0)
    first = learner.weight_parts()["attention"][0]
    place = next(i for i, w in enumerate(learner.trainable_weights) if w is first)
    given[place] = None
    before = np.array(first)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        learner.update_weights(given)
    np.testing.assert_array_equal(first, before)
