"""CAVIA: fast context adaptation."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from kfsl import gradients
from kfsl.layers.film import FiLM
from kfsl.layers.film_generator import FiLMGenerator
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.networks.head import with_head
from kfsl.networks.insertion import output_with_insertions
from kfsl.networks.replaced_weights import call_with
from kfsl.update_rules.sgd import SGD

CONTEXT = "context"


@keras.saving.register_keras_serializable(package="kfsl")
class CAVIA(GradientLearner):
    """CAVIA: a context vector adapts to each episode, and no weight does.

    The context starts at zero. A generator makes from it a factor and an offset for each
    channel (FiLM) after one layer of the backbone; with a context of zero they are its biases,
    which start uniformly within 1 / sqrt(context_size) of zero, as PyTorch's do.

    Args:
        backbone: see `GradientLearner`; a functional model.
        modulated: str. Name of the backbone's layer whose output is modulated. The paper has
            pooling, modulation, ReLU: that is `"block3_pool"` of a `Conv4` with
            `order="bn-pool-activation"`.
        context_size: int. Numbers in the context.
        inner_rate: float. Multiplies the gradient of the *mean* loss.
        steps: int. Inner steps.
        **kwargs: see `GradientLearner`; `adapted` has no meaning here.

    Raises:
        ValueError: for `adapted`, or a layer that the backbone does not have.

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
        modulated: str = "block3_pool",
        context_size: int = 100,
        inner_rate: float = 1.0,
        steps: int = 2,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("adapted") is not None:
            raise ValueError(
                "CAVIA adapts its context and no weight; received "
                f"adapted={kwargs['adapted']!r}. Leave it out."
            )
        if context_size < 1:
            raise ValueError(f"`context_size` must be at least 1; received {context_size}.")
        # The base constructor makes the network, for which these have to be known.
        self.modulated = modulated
        self.context_size = context_size
        super().__init__(backbone, steps=steps, **kwargs)
        self.inner_rate = inner_rate

    def _make_network(self) -> keras.Model:
        images = self.backbone.inputs[0]
        context = layers.Input((self.context_size,), dtype=self.variable_dtype, name=CONTEXT)
        maps = output_with_insertions(self.backbone, {self.modulated: self._modulation(context)})
        return keras.Model(
            [images, context],
            with_head(maps, self.ways, self.pooling, self.dtype_policy),
            name="network",
        )

    def _modulation(self, context: Any) -> Callable[[Any], Any]:
        dtype = self.dtype_policy
        bound = 1.0 / math.sqrt(self.context_size)

        def modulation(maps: Any) -> Any:
            gamma, beta = FiLMGenerator(
                kernel_initializer="he_uniform",
                bias_initializer=keras.initializers.RandomUniform(-bound, bound),
                channels=maps.shape[-1],
                dtype=dtype,
                name="film_parameters",
            )(context)
            return FiLM(dtype=dtype, name="film")(maps, gamma, beta)

        return modulation

    def _chosen(self) -> tuple[int, ...]:
        return ()

    def update_rule(self) -> gradients.UpdateRule:
        return SGD(self.inner_rate)

    def inner_weights(self) -> dict[str, Any]:
        return {CONTEXT: tf.zeros((self.context_size,), self.variable_dtype)}

    def state_keys(self) -> list[str]:
        return [CONTEXT]

    def outputs_with(self, weights: Sequence[Any], images: Any, training: bool) -> tuple[Any, Any]:
        (context,) = weights
        # One row of context modulates all images.
        return call_with(self.network, {}, [images, context[None]], training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["adapted"]
        return {
            **config,
            "modulated": self.modulated,
            "context_size": self.context_size,
            "inner_rate": self.inner_rate,
        }
