"""Prototypical Networks."""

from typing import Any

import keras

from kfsl.layers.cosine import cosine_similarity
from kfsl.learners.base.argument_checks import check_choice, check_numbers
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.learners.base.vectors import class_means, flat_features, squared_distances
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
        check_numbers(scale=scale)
        self.scale = scale

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        vectors = flat_features(features)
        # Eq. 1: c_k, the mean of the class's embedded support points.
        means, counts = class_means(vectors, self.one_hot_support(labels, mask))
        return {"prototypes": means, "support_counts": counts}

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
