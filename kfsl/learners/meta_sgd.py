"""Meta-SGD: MAML that learns how far, and in which direction, each weight moves."""

from typing import Any

import keras

from kfsl import gradients
from kfsl.learners.base.argument_checks import check_numbers
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.networks.replaced_weights import starting_weights
from kfsl.update_rules.sgd import SGD


@keras.saving.register_keras_serializable(package="kfsl")
class MetaSGD(GradientLearner):
    """Meta-SGD: a learned inner rate for each number that adapts.

    The rates multiply the gradient of the *mean* loss. They are free to become negative.

    Args:
        backbone: see `GradientLearner`.
        smallest_rate: float. Rates start uniformly between the two.
        largest_rate: float.
        steps: int. Inner steps in training. Defaults to `1`, as in the paper.
        **kwargs: see `GradientLearner`.

    Reference:
        [Li et al., 2017](https://arxiv.org/abs/1707.09835), equation 2 and algorithm 1.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.meta_sgd import MetaSGD

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    learner = MetaSGD(Conv4(image_shape=(28, 28, 1), filters=8), ways=5)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        smallest_rate: float = 0.005,
        largest_rate: float = 0.1,
        steps: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, steps=steps, **kwargs)
        check_numbers(smallest_rate=smallest_rate, largest_rate=largest_rate)
        if not smallest_rate <= largest_rate:
            raise ValueError(
                f"smallest_rate must not exceed largest_rate; received {smallest_rate} and "
                f"{largest_rate}."
            )
        self.smallest_rate = smallest_rate
        self.largest_rate = largest_rate
        self.learned_rates = [
            self.add_weight(
                variable.shape,
                keras.initializers.RandomUniform(smallest_rate, largest_rate),
                name=f"rates_of_{key}",
            )
            for variable, key in zip(
                self.adapted_network.variables, self.adapted_network.keys, strict=True
            )
        ]

    def update_rule(self) -> gradients.UpdateRule:
        return SGD(starting_weights(self.learned_rates))

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`rates`: the learned rates."""
        return {"rates": list(self.learned_rates)}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "smallest_rate": self.smallest_rate,
            "largest_rate": self.largest_rate,
        }
