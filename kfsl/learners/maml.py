"""Model-agnostic meta-learning."""

from typing import Any

import keras

from kfsl import gradients
from kfsl.learners.base.argument_checks import check_numbers
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.networks.replaced_weights import starting_weights
from kfsl.update_rules.sgd import SGD


@keras.saving.register_keras_serializable(package="kfsl")
class MAML(GradientLearner):
    """MAML: weights from which a few gradient steps lead to a good classifier.

    Args:
        backbone: see `GradientLearner`.
        inner_rate: float. The inner rate alpha; multiplies the gradient of the *mean* loss.
        rates: str. `"fixed"`; `"shared"`, one learned rate that starts at `inner_rate`; or
            `"per_tensor"`, a learned rate for each adapted tensor.
        **kwargs: see `GradientLearner`: `first_order=True` is FOMAML, `adapted=("head",)` ANIL.

    Reference:
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), algorithm 1;
        [Raghu et al., 2020](https://arxiv.org/abs/1909.09157) for ANIL.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.maml import MAML

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone = Conv4(image_shape=(28, 28, 1), filters=8)
    learner = MAML(backbone, ways=5, steps=1, inner_rate=0.4)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    RATES = ("fixed", "shared", "per_tensor")

    def __init__(
        self,
        backbone: keras.Model,
        *,
        inner_rate: float = 0.05,
        rates: str = "fixed",
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, **kwargs)
        if rates not in self.RATES:
            raise ValueError(f"`rates` must be one of {self.RATES}; received {rates!r}.")
        check_numbers(inner_rate=inner_rate)
        self.inner_rate = inner_rate
        self.rates = rates
        self.learned_rates = None
        if rates != "fixed":
            count = 1 if rates == "shared" else len(self.adapted_network.variables)
            start = keras.initializers.Constant(inner_rate)
            self.learned_rates = self.add_weight((count,), start, name="inner_rates")

    def update_rule(self) -> gradients.UpdateRule:
        if self.learned_rates is None:
            return SGD(self.inner_rate)
        (rates,) = starting_weights([self.learned_rates])
        if self.rates == "shared":
            return SGD(rates[0])
        return SGD([rates[i] for i in range(len(self.adapted_network.variables))])

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`rates`: the learned inner rates, where there are any."""
        return {} if self.learned_rates is None else {"rates": [self.learned_rates]}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner_rate": self.inner_rate, "rates": self.rates}
