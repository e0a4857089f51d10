"""Cross-Modulation Networks."""

from typing import Any

import keras
from keras import ops

from kfsl.layers.cosine import CosineSimilarity
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.cross_modulation_learner import CrossModulationLearner
from kfsl.learners.matching_network import AGGREGATIONS, class_logits


@keras.saving.register_keras_serializable(package="kfsl")
class CrossModulationNetwork(CrossModulationLearner):
    """A Matching Network in which query and support image modulate each other's features.

    With `gamma0 = beta0 = 0` the logits are those of `MatchingNetwork` with the same backbone.

    The defaults are those of the published code. The paper's equation 2 divides by the norm of
    the query, its code by that of the support image; and for several shots the paper sums the
    attention of a class's images where the code sums their similarities.

    Args:
        backbone: functional `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        modulated: sequence of str. Layers behind which pairs are modulated: `("block4_bn",)`
            leaves blocks 2 and 3 of `Conv4` plain. See `CrossModulationLearner`.
        aggregation: str. `"sum_logits"` or `"sum_attention"`; see `MatchingNetwork`.
        normalize: str. Which norm divides the inner product: `"support"`, `"query"`, `"both"`.
        **kwargs: see `CrossModulationLearner`: `scale_penalty`, `noise`, `pairs_at_once`,
            `bn_policy` and others.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 1 and equations 1 and 2.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.cross_modulation_network import CrossModulationNetwork

    episode, _ = EpisodeSpec(ways=5, shots=2, queries=3, image_shape=(28, 28, 1)).random_episode()
    learner = CrossModulationNetwork(Conv4(image_shape=(28, 28, 1), filters=8))
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        modulated: Any = ("block2_bn", "block3_bn", "block4_bn"),
        aggregation: str = "sum_logits",
        normalize: str = "support",
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, modulated=modulated, **kwargs)
        check_choice("aggregation", aggregation, AGGREGATIONS)
        self.aggregation = aggregation
        self.similarity = CosineSimilarity(normalize, dtype=self.logits_dtype)

    def pair_logits(self, queries: Any, supports: Any, one_hot: Any) -> Any:
        # Each pair has a query and a support vector of its own: eq. 2 for one against one.
        pairs = self.similarity(ops.expand_dims(queries, 3), ops.expand_dims(supports, 3))
        return class_logits(pairs[..., 0, 0], one_hot, self.aggregation)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "aggregation": self.aggregation,
            "normalize": self.similarity.normalize,
        }
