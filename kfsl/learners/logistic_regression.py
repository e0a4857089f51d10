"""Logistic regression on the features of a frozen network."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kfsl.learners.base.argument_checks import check_positive, check_whole_numbers
from kfsl.learners.base.frozen_features import FrozenFeatures
from kfsl.learners.base.multinomial import multinomial_weights
from kfsl.objectives.classification import mask_absent


@keras.saving.register_keras_serializable(package="kfsl")
class LogisticRegression(FrozenFeatures):
    """A linear classifier of each support set, multinomial and L2-regularised.

    It trains nothing beforehand: its backbone was trained elsewhere, or is that of a run that it
    begins with (`train.start_from`, `train.epochs = 0`). `adapt` minimises the sum of the support
    images' cross-entropies plus `penalty / 2` times the sum of the squared weights; biases cost
    nothing. That is what scikit-learn's `LogisticRegression(C=1 / penalty)` minimises for three
    classes and more (for two, scikit-learn has one vector of weights and not one for each). It is
    solved to the minimum, by a deterministic iteration in the graph, so it is served as it is;
    see `kfsl.learners.base.multinomial`.

    Args:
        backbone: `keras.Model`. It is frozen.
        penalty: float. Positive. Of vectors whose norm is 1. Defaults to `1.0`, as in the paper.
        most_steps: int. Of the iteration, which ends when it has converged: after some 20 steps
            with a penalty of 1, some 200 with 0.01. Defaults to `1000`.
        pooling, center_images, unit_norm, **kwargs: see `FrozenFeatures`. The paper has no
            centre: that is `center_images=0`.

    Raises:
        ValueError: if an argument is out of range.

    Reference:
        [Tian et al., 2020](https://arxiv.org/abs/2003.11539), section 3.2: logistic regression on
        features of unit norm.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.logistic_regression import LogisticRegression

    learner = LogisticRegression(Conv4(image_shape=(28, 28, 1), filters=8), penalty=0.1)
    episode, _ = EpisodeSpec(5, 5, 3, (28, 28, 1)).random_episode()
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        penalty: float = 1.0,
        most_steps: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, **kwargs)
        check_positive(penalty=penalty)
        check_whole_numbers(1, most_steps=most_steps)
        self.penalty = penalty
        self.most_steps = most_steps

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        vectors = self.transformed(features)
        one_hot = ops.cast(self.one_hot_support(labels, mask), vectors.dtype)
        weights, biases, _ = multinomial_weights(vectors, one_hot, self.penalty, self.most_steps)
        return {"weights": weights, "biases": biases, "support_counts": ops.sum(one_hot, axis=1)}

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        del training
        logits = ops.matmul(self.transformed(query_features), state["weights"])
        logits = logits + state["biases"][:, None]
        return {"logits": mask_absent(logits, state["support_counts"])}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "penalty": self.penalty, "most_steps": self.most_steps}
