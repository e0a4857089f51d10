"""Prototypical Networks."""

from typing import Any

import keras
from keras import ops

from kfsl.layers.cosine import cosine_similarity
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.objectives.classification import mask_absent

DISTANCES = ("squared_euclidean", "cosine")


@keras.saving.register_keras_serializable(package="kfsl")
class PrototypicalNetwork(MetricLearner):
    """Classifies by the distance to each class's mean support feature.

    The squared distance is summed over the flattened features, neither averaged nor rooted:
    its scale is part of the method, since the logits are its negative.

    Args:
        backbone: `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        distance: str. `"squared_euclidean"` or `"cosine"`.
        scale: float. Multiplies the logits; with `"cosine"` they lie in `[-scale, scale]`, so
            that 1 cannot saturate the softmax (10 is usual).
        **kwargs: see `MetricLearner` and `Learner`. Training with more ways than at test is usual.

    Reference:
        Snell et al. (2017), "Prototypical Networks for Few-shot Learning", eq. 1 and 2.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    episode, _ = EpisodeSpec(ways=5, shots=2, queries=3, image_shape=(28, 28, 1)).random_episode()
    learner = PrototypicalNetwork(Conv4(image_shape=(28, 28, 1), filters=8))
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        distance: str = "squared_euclidean",
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, **kwargs)
        check_choice("distance", distance, DISTANCES)
        self.distance = distance
        self.scale = scale

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        vectors = flat_features(features)
        one_hot = ops.cast(self.one_hot_support(labels, mask), vectors.dtype)
        # Eq. 1: c_k, the mean of the class's embedded support points.
        sums = ops.einsum("bsn,bsd->bnd", one_hot, vectors)
        counts = ops.sum(one_hot, axis=1)
        return {
            "prototypes": sums / ops.maximum(counts, 1.0)[..., None],
            "support_counts": counts,
        }

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        del training
        queries, prototypes = flat_features(query_features), state["prototypes"]
        if self.distance == "cosine":
            similarities = cosine_similarity(queries, prototypes, "both")
        else:
            similarities = -squared_distances(queries, prototypes)
        # Eq. 2: the logits are -d(f(x), c_k).
        return {"logits": mask_absent(self.scale * similarities, state["support_counts"])}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "distance": self.distance, "scale": self.scale}


def squared_distances(queries: Any, prototypes: Any) -> Any:
    """Squared Euclidean distances, none negative.

    Args:
        queries: float tensor, `[B, Q, D]`.
        prototypes: float tensor, `[B, N, D]`.

    Returns:
        Tensor, `[B, Q, N]`.
    """
    # Distances do not change when all vectors move together; the sums below cancel less where
    # the vectors are short.
    center = ops.stop_gradient(ops.mean(prototypes, axis=1, keepdims=True))
    queries, prototypes = queries - center, prototypes - center
    products = ops.einsum("bqd,bnd->bqn", queries, prototypes)
    query_norms = ops.sum(ops.square(queries), axis=-1)[..., None]
    norms = ops.sum(ops.square(prototypes), axis=-1)[:, None, :]
    return ops.maximum(query_norms - 2.0 * products + norms, 0.0)


def flat_features(features: Any) -> Any:
    """Features `[B, n, ...]` as vectors of at least float32, `[B, n, D]`.

    Distances and similarities are not taken in half precision: their differences are small beside
    their size.
    """
    shape = ops.shape(features)
    precise = keras.backend.result_type(features.dtype, "float32")
    return ops.cast(ops.reshape(features, (shape[0], shape[1], -1)), precise)
