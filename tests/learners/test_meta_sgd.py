"""Meta-SGD keeps the contract of learners, and is MAML where its rates are equal."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.maml import MAML
from kfsl.learners.meta_sgd import MetaSGD
from tests.learners.test_maml import BEFORE_NORMALIZATION
from tests.support.backbones import two_blocks
from tests.support.contract import LearnerContract

SPEC = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))


def small_backbone() -> Conv4:
    keras.utils.set_random_seed(0)
    return Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2)


class TestMetaSGD(LearnerContract):
    spec = SPEC
    zero_gradients = BEFORE_NORMALIZATION | {
        f"block{i}_conv_bias": "so is the inner gradient that its rate multiplies"
        for i in range(1, 5)
    }

    def make_learner(self, **arguments) -> MetaSGD:
        return MetaSGD(two_blocks((8, 8, 1), filters=4), ways=3, **arguments)


@pytest.mark.parametrize("rate", [0.3, -0.3], ids=["down", "up"])
def test_equal_rates_are_those_of_maml(rate):
    """A negative rate is as good as any: nothing clips it."""
    episode, _ = SPEC.random_episode(meta_batch=2)
    meta_sgd = MetaSGD(small_backbone(), ways=3)
    maml = MAML(small_backbone(), ways=3, steps=1, inner_rate=rate)
    maml.network.set_weights(meta_sgd.network.get_weights())
    for rates in meta_sgd.learned_rates:
        rates.assign(np.full(rates.shape, rate))
    np.testing.assert_allclose(
        meta_sgd(episode)["logits"], maml(episode)["logits"], rtol=1e-5, atol=1e-6
    )


def test_each_number_has_a_rate_of_its_own():
    """Zero rates leave a weight where it is; its neighbours move."""
    learner = MetaSGD(small_backbone(), ways=3, adapted=("head/kernel",))
    (rates,) = learner.learned_rates
    factors = np.zeros(rates.shape)
    factors[:, 1] = 1.0
    rates.assign(factors)
    episode, _ = SPEC.random_episode()
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    (key,) = learner.adapted_network.keys
    moved = state[key][0].numpy() != learner.network.layers[-1].kernel.numpy()
    assert np.any(moved[:, 1])
    assert not np.any(moved[:, [0, 2]])


def test_parameters_and_first_rates():
    backbone = Conv4(image_shape=(84, 84, 3), filters=32)
    learner = MetaSGD(backbone, ways=5)
    assert sum(np.prod(w.shape) for w in learner.trainable_weights) == 2 * 32_901
    rates = np.concatenate([rates.numpy().ravel() for rates in learner.learned_rates])
    assert 0.005 <= rates.min() < 0.0055
    assert 0.0995 < rates.max() <= 0.1
    assert learner.steps == 1


def test_the_rates_may_have_an_optimiser_of_their_own():
    learner = MetaSGD(small_backbone(), ways=3)
    learner.compile(keras.optimizers.SGD(0.1), part_optimizers={"rates": keras.optimizers.SGD(0.0)})
    rates = [r.numpy() for r in learner.learned_rates]
    weights = learner.network.get_weights()
    learner.train_on_batch(*SPEC.random_episode())
    for before, after in zip(rates, learner.learned_rates, strict=True):
        np.testing.assert_array_equal(before, after)
    assert np.any(weights[0] != learner.network.get_weights()[0])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="smallest_rate must not exceed largest_rate"):
        MetaSGD(small_backbone(), ways=3, smallest_rate=0.2)
