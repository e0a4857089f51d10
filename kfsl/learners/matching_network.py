"""Matching Networks."""

from typing import Any

import keras
from keras import ops

from kfsl.layers.cosine import CosineSimilarity
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.learners.base.vectors import flat_features
from kfsl.objectives.classification import ABSENT, mask_absent

AGGREGATIONS = ("sum_attention", "sum_logits")


@keras.saving.register_keras_serializable(package="kfsl")
class MatchingNetwork(MetricLearner):
    """Classifies by attention over the support set, without full-context embeddings.

    `aggregation="sum_attention"` is the paper's: a class has the attention of its support
    images together, p(c) = sum over i in c of softmax_i(sim_i), and the logits are log p(c).
    `"sum_logits"` is the form of widely used code: p(c) = softmax_c(sum over i in c of sim_i).
    They agree for one shot. Where classes have different numbers of support images their sums are
    scaled to the mean number; else the largest class would win, since similarities of features
    behind a ReLU are never negative.

    Args:
        backbone: `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        aggregation: str. `"sum_attention"` or `"sum_logits"`.
        normalize: str. Which norm divides the inner product: `"support"` (query norms act as
            temperatures, so the softmax can saturate), `"query"` or `"both"` (the cosine;
            after a ReLU it lies in 0..1, and the 5-way loss cannot fall below 0.905).
        embed_together: bool. Support and query share their moments in training.
        **kwargs: see `MetricLearner` and `Learner`.

    Reference:
        Vinyals et al. (2016), "Matching Networks for One Shot Learning", eq. 1; the
        unnormalised cosine: Prol et al. (2018), "Cross-Modulation Networks", eq. 2.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.matching_network import MatchingNetwork

    episode, _ = EpisodeSpec(ways=5, shots=2, queries=3, image_shape=(28, 28, 1)).random_episode()
    learner = MatchingNetwork(Conv4(image_shape=(28, 28, 1), filters=8))
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        aggregation: str = "sum_attention",
        normalize: str = "support",
        embed_together: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, embed_together=embed_together, **kwargs)
        check_choice("aggregation", aggregation, AGGREGATIONS)
        self.aggregation = aggregation
        self.similarity = CosineSimilarity(normalize, dtype=self.logits_dtype)

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        one_hot = self.one_hot_support(labels, mask)
        return {"support_features": flat_features(features), "support_one_hot": one_hot}

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        del training
        one_hot = state["support_one_hot"]
        similarities = self.similarity(flat_features(query_features), state["support_features"])
        return {"logits": class_logits(similarities, one_hot, self.aggregation)}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "aggregation": self.aggregation,
            "normalize": self.similarity.normalize,
        }


def class_logits(similarities: Any, one_hot: Any, aggregation: str) -> Any:
    """What the support images of a class say together.

    Args:
        similarities: float tensor, `[B, Q, S]`.
        one_hot: float tensor, `[B, S, ways]`; rows of padding are zero.
        aggregation: str. See `MatchingNetwork`.

    Returns:
        Logits, `[B, Q, ways]`; those of classes without support images are `ABSENT`.
    """
    if aggregation == "sum_attention":
        logits = _log_class_attention(similarities, one_hot)
    else:
        logits = ops.einsum("bqs,bsn->bqn", similarities, one_hot * _balance(one_hot))
    return mask_absent(logits, ops.sum(one_hot, axis=1))


def _balance(one_hot: Any) -> Any:
    """Factors [B, 1, ways] that make classes of unequal size count alike; 1 for equal sizes."""
    counts = ops.sum(one_hot, axis=1, keepdims=True)
    present = ops.sum(ops.cast(counts > 0, counts.dtype), axis=-1, keepdims=True)
    mean = ops.sum(counts, axis=-1, keepdims=True) / ops.maximum(present, 1.0)
    return mean / ops.maximum(counts, 1.0)


def _log_class_attention(similarities: Any, one_hot: Any) -> Any:
    """log of the attention a class has in all, in the log domain so that no p(c) is 0."""
    real = ops.any(one_hot > 0, axis=-1)[:, None, :]
    scores = ops.where(real, similarities, ABSENT)
    members = one_hot[:, None, :, :] > 0
    by_class = ops.where(members, scores[..., None], ABSENT)
    return ops.logsumexp(by_class, axis=2) - ops.logsumexp(scores, axis=-1)[..., None]
