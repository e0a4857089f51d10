"""CAVIA: fast context adaptation."""

from typing import Any

import keras

from kfsl import gradients
from kfsl.learners.base.argument_checks import check_numbers, check_whole_numbers
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.networks.context_network import (
    INITIALIZER,
    ContextNetwork,
    joined_by_context,
    modulated_by_context,
)
from kfsl.networks.head import Head
from kfsl.update_rules.sgd import SGD


@keras.saving.register_keras_serializable(package="kfsl")
class CAVIA(GradientLearner):
    """CAVIA: a context vector adapts to each episode, and no weight does.

    The context starts at zero. Of images a generator makes from it a factor and an offset for
    each channel (FiLM) after one layer of the backbone; with a context of zero they are its
    biases, which start uniformly within 1 / sqrt(context_size) of zero, as PyTorch's do. Of
    numbers, `modulated=None`, the context stands behind the inputs, and the backbone has to take
    `context_size` numbers more than a task has.

    Args:
        backbone: see `GradientLearner`; a functional model.
        modulated: str or None. Name of the backbone's layer whose output is modulated; None: the
            context joins the inputs. The paper has pooling, modulation, ReLU: that is
            `"block3_pool"` of a `Conv4` with `order="bn-pool-activation"`.
        context_size: int. Numbers in the context.
        inner_rate: float. Multiplies the gradient of the *mean* loss.
        steps: int. Inner steps.
        head_initializer: str or `keras.Initializer`. See `GradientLearner`; the authors' here.
        **kwargs: see `GradientLearner`; `adapted` has no meaning here.

    Raises:
        ValueError: for `adapted`, a layer that the backbone does not have, or a backbone without
            place for the context.

    Reference:
        [Zintgraf et al., 2019](https://arxiv.org/abs/1810.03642), equations 3 and 5.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.cavia import CAVIA

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone = Conv4(image_shape=(28, 28, 1), filters=8, order="bn-pool-activation")
    learner = CAVIA(backbone, ways=5)
    state = learner.adapt(episode["support_images"], episode["support_labels"])
    assert state["context"].shape == (1, 100)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        modulated: str | None = "block3_pool",
        context_size: int = 100,
        inner_rate: float = 1.0,
        steps: int = 2,
        head_initializer: Any = INITIALIZER,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("adapted") is not None:
            raise ValueError(
                "CAVIA adapts its context and no weight; received "
                f"adapted={kwargs['adapted']!r}. Leave it out."
            )
        check_whole_numbers(1, context_size=context_size)
        check_numbers(inner_rate=inner_rate)

        def network(backbone: keras.Model, head: Head) -> ContextNetwork:
            if modulated is None:
                return joined_by_context(backbone, head, context_size)
            return modulated_by_context(backbone, head, modulated, context_size)

        super().__init__(
            backbone, steps=steps, network=network, head_initializer=head_initializer, **kwargs
        )
        self.modulated = modulated
        self.context_size = context_size
        self.inner_rate = inner_rate

    def update_rule(self) -> gradients.UpdateRule:
        return SGD(self.inner_rate)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["adapted"]
        return {
            **config,
            "modulated": self.modulated,
            "context_size": self.context_size,
            "inner_rate": self.inner_rate,
        }
