"""Prototypical Networks with cross-modulation."""

from typing import Any

import keras
from keras import ops

from kfsl.learners.base.argument_checks import check_numbers
from kfsl.learners.base.cross_modulation_learner import CrossModulationLearner
from kfsl.objectives.classification import mask_absent


@keras.saving.register_keras_serializable(package="kfsl")
class CrossModulationPrototypicalNetwork(CrossModulationLearner):
    """A Prototypical Network in which query and support image modulate each other's features.

    A query has a prototype of each class for itself: the mean of the class's support features as
    this query modulates them. Its own feature differs from pair to pair too, and for a class it is
    the mean over the class's pairs. The logits are the negative squared distances of the two.
    With `gamma0 = beta0 = 0` they are those of `PrototypicalNetwork`.

    The paper names this as future work; how the query's features are joined is kfsl's choice.

    Args:
        backbone: functional `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        scale: float. Multiplies the logits.
        **kwargs: see `CrossModulationLearner`.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), section 4;
        [Snell et al., 2017](https://arxiv.org/abs/1703.05175), equations 1 and 2.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.cross_modulation_prototypical_network import (
        CrossModulationPrototypicalNetwork,
    )

    episode, _ = EpisodeSpec(ways=5, shots=2, queries=3, image_shape=(28, 28, 1)).random_episode()
    learner = CrossModulationPrototypicalNetwork(Conv4(image_shape=(28, 28, 1), filters=8))
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(self, backbone: keras.Model, *, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(backbone, **kwargs)
        check_numbers(scale=scale)
        self.scale = scale

    def pair_logits(self, queries: Any, supports: Any, one_hot: Any) -> Any:
        counts = ops.sum(one_hot, axis=1)
        weights = one_hot / ops.maximum(counts, 1.0)[:, None, :]
        # The difference of the means is the mean of the pairs' differences.
        differences = ops.einsum("bsn,bqsd->bqnd", weights, queries - supports)
        distances = ops.sum(ops.square(differences), axis=-1)
        return mask_absent(-self.scale * distances, counts)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
