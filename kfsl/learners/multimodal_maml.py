"""Multimodal MAML: gradient steps from weights that the support set has modulated."""

from typing import Any

import keras

from kfsl.layers.task_encoder import TaskEncoder
from kfsl.learners.base.argument_checks import check_whole_numbers
from kfsl.learners.base.given_layers import given_network, shared_preparation
from kfsl.learners.maml import MAML
from kfsl.networks.adapted_network import backbone_with_head, chosen_positions
from kfsl.networks.head import Head
from kfsl.networks.modulated_network import ModulatedNetwork
from kfsl.networks.weight_modulation import WeightModulation


@keras.saving.register_keras_serializable(package="kfsl")
class MultimodalMAML(MAML):
    """MAML of a network that is modulated for each task (MMAML, and with kernel modulation).

    A network of its own, `encoder`, makes a vector of the support images, without their labels;
    generators make from it what modulates the backbone, once, before the first step. The steps
    adapt the weights beneath the modulation, which stays as it is within a task: so MMAML's
    program has it, and of KML the paper does not say.

    Args:
        backbone: see `GradientLearner`.
        encoder: `keras.Model`. Float images to maps or vectors.
        generator: str. See `ModulatedPrototypicalNetwork`. Defaults to `"factorised"`; MMAML
            itself has `"film"`.
        embedding_size: int. Numbers in the task's vector. Defaults to `128`.
        dense: bool. Whether dense layers of the backbone, and the head, are modulated too.
            Defaults to False.
        residual: bool. See `ModulatedPrototypicalNetwork`. Defaults to True.
        bn_policy: str. See `GradientLearner`; the encoder sees support sets alone. Defaults to
            `"batch"`.
        dtype: Keras dtype policy of the learner, its task encoder and its generators.
        **kwargs: see `MAML`.

    Raises:
        ValueError: if an argument is out of range, the backbone has nothing to modulate, or one of
            it and the encoder takes raw pixels and no `preprocessing` is given.

    Reference:
        [Vuorio et al., 2019](https://arxiv.org/abs/1910.13616);
        [Abdollahzadeh et al., 2021](https://arxiv.org/abs/2110.14202).

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.multimodal_maml import MultimodalMAML

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone, encoder = (Conv4(image_shape=(28, 28, 1), filters=4) for _ in range(2))
    learner = MultimodalMAML(backbone, encoder, ways=5, steps=1, embedding_size=8)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    regresses = False  # Its encoder embeds images.

    def __init__(
        self,
        backbone: keras.Model,
        encoder: keras.Model,
        *,
        generator: str = "factorised",
        embedding_size: int = 128,
        dense: bool = False,
        residual: bool = True,
        bn_policy: str = "batch",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_whole_numbers(1, embedding_size=embedding_size)
        policy = keras.dtype_policies.get(dtype)
        kwargs["preprocessing"] = shared_preparation(backbone, encoder, kwargs.get("preprocessing"))
        encoder = given_network("encoder", encoder)
        task_encoder = TaskEncoder(encoder, embedding_size, dtype=policy, name="task_encoder")
        adapted = kwargs.get("adapted")

        def network(backbone: keras.Model, head: Head) -> ModulatedNetwork:
            whole = backbone_with_head(backbone, head)
            modulation = WeightModulation(whole, generator, embedding_size, dense, residual, policy)
            positions = chosen_positions(whole, adapted)
            return ModulatedNetwork(whole, task_encoder, modulation, bn_policy, positions)

        super().__init__(backbone, network=network, bn_policy=bn_policy, dtype=policy, **kwargs)
        self.encoder = encoder
        self.task_encoder = task_encoder
        self.generators = self.adapted_network.modulation.generators
        self.generator = generator
        self.embedding_size = embedding_size
        self.dense = dense
        self.residual = residual

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`network`; `modulation`, the encoder and generators; `rates`, learned ones."""
        own = [w for made in self.generators for w in made.trainable_weights]
        return {
            **super().weight_parts(),
            "network": self.network.trainable_weights,
            "modulation": [*self.task_encoder.trainable_weights, *own],
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "generator": self.generator,
            "embedding_size": self.embedding_size,
            "dense": self.dense,
            "residual": self.residual,
        }
