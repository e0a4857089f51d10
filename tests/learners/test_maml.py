"""MAML keeps the contract of learners, and what its fact sheet says."""

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.maml import MAML
from tests.contract import LearnerContract

# The mean of a batch takes away whatever a bias adds before it.
BEFORE_NORMALIZATION = {
    f"block{i}_conv/bias": "normalisation takes constants away" for i in range(1, 5)
}


class TestMAML(LearnerContract):
    variants = (
        {"steps": 2, "inner_rate": 0.1},
        {"steps": 1, "bn_policy": "support", "adapted": ("head",), "rates": "shared"},
        {"steps": 6, "first_order": True, "rates": "per_tensor"},
    )
    zero_gradients = BEFORE_NORMALIZATION

    def make_learner(self, **arguments) -> MAML:
        backbone = Conv4(image_shape=(16, 16, 1), filters=8, num_pools=2, bn_momentum=0.5)
        return MAML(backbone, ways=3, **arguments)
