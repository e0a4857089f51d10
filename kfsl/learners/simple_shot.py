"""SimpleShot: nearest centroid of centred features of unit norm."""

from __future__ import annotations

from typing import Any

import keras

from kfsl.learners.base.argument_checks import check_positive
from kfsl.learners.base.frozen_features import FrozenFeatures
from kfsl.learners.base.vectors import class_means, squared_distances
from kfsl.objectives.classification import mask_absent


@keras.saving.register_keras_serializable(package="kfsl")
class SimpleShot(FrozenFeatures):
    """Classifies by the nearest centroid, of features that are centred and have norm 1.

    It trains nothing: its backbone was trained elsewhere, or is that of a run that it begins
    with (`train.start_from`, `train.epochs = 0`). With the centre of base classes and the norm
    it is the paper's CL2N; with `center_images=0`, L2N; with `unit_norm=False` besides, UN. The
    paper knows no centre without base images, and neither does it: before `see_base_images` it is
    L2N, which is nearly as good.

    Args:
        backbone: `keras.Model`. It is frozen.
        scale: float. Multiplies the logits, which are minus squared distances, at most 4: no
            matter for what is predicted, but for how sure. Defaults to `10.0`.
        pooling, center_images, unit_norm, **kwargs: see `FrozenFeatures`.

    Raises:
        ValueError: if an argument is out of range.

    Reference:
        [Wang et al., 2019](https://arxiv.org/abs/1911.04623), section 3.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.simple_shot import SimpleShot

    learner = SimpleShot(Conv4(image_shape=(28, 28, 1), filters=8))
    learner.see_base_images([np.random.randint(0, 256, (20, 28, 28, 1), "uint8")])
    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(self, backbone: keras.Model, *, scale: float = 10.0, **kwargs: Any) -> None:
        super().__init__(backbone, **kwargs)
        check_positive(scale=scale)
        self.scale = scale

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        vectors = self.transformed(features)
        # Eq. 2: the mean of what is transformed, which is not transformed once more.
        means, counts = class_means(vectors, self.one_hot_support(labels, mask))
        return {"centroids": means, "support_counts": counts}

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        del training
        distances = squared_distances(self.transformed(query_features), state["centroids"])
        return {"logits": mask_absent(-self.scale * distances, state["support_counts"])}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
