"""ModGrad keeps the contract of learners, and what its fact sheet says."""

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.modgrad import ModGrad
from tests.contract import LearnerContract

# The mean of a batch takes away whatever a bias adds before it: the bias has no gradient, and
# so nothing that its cell could modulate.
BEFORE_NORMALIZATION = {
    **{f"block{i}_conv/bias": "normalisation takes constants away" for i in range(1, 5)},
    **{f"block{i}_conv_bias": "modulates a gradient that is zero" for i in (3, 4)},
}


class TestModGrad(LearnerContract):
    variants = (
        {},
        {"steps": 2, "form": "code", "columns": 2, "bn_policy": "support", "adapted": ("conv",)},
    )
    spec = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(8, 8, 1))
    zero_gradients = {
        **BEFORE_NORMALIZATION,
        **{f"block{i}_conv_bias": "modulates a gradient that is zero" for i in (1, 2)},
    }

    def make_learner(self, **arguments) -> ModGrad:
        backbone = Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2, bn_momentum=0.5)
        return ModGrad(backbone, ways=3, context_size=6, inner_rate=5.0, **arguments)
