"""A few-shot classifier of rows of numbers, since scikit-learn checks estimators with those."""

from typing import Any, Self

import keras
import numpy as np
from sklearn.utils.validation import validate_data

from kfsl import FewShotClassifier
from kfsl.learners.prototypical_network import PrototypicalNetwork

#: Columns are rows of an image of this height; those that are not given are 0.
HEIGHT = 24
#: Numbers from -REACH to REACH become two pixels, of which the first counts 256 times.
REACH, LEVELS = 20.0, 65535


class Numbers(keras.Model):
    """The numbers back from their pixels."""

    takes_pixels = True

    def __init__(self) -> None:
        images = keras.Input((HEIGHT, 2, 1))
        pixels = keras.ops.cast(images[..., 0], "float32")
        numbers = keras.ops.matmul(pixels, np.array([256.0, 1.0], "float32"))
        super().__init__(images, numbers * (2 * REACH / LEVELS) - REACH)


def learner() -> PrototypicalNetwork:
    """Nearest class mean of the numbers."""
    return PrototypicalNetwork(Numbers())


class TabularClassifier(FewShotClassifier):
    """Rows as images; what scikit-learn's own tools check of rows is left to them.

    Args:
        model: str. The folder of an exported `learner()`.
    """

    def __init__(self, model: str = "") -> None:
        super().__init__(model)

    @classmethod
    def _argument_names(cls) -> list[str]:
        return ["model"]

    def fit(self, X: Any, y: Any = None) -> Self:
        X, y = validate_data(self, X, y)
        return super().fit(_pixels(X), y)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:
        if not self.is_fitted:
            return self.fit(X, y)
        X, y = validate_data(self, X, y, reset=False)
        return super().partial_fit(_pixels(X), y, classes)

    def answers(self, X: Any) -> dict[str, np.ndarray]:
        self.check_fitted()
        return super().answers(_pixels(validate_data(self, X, reset=False)))

    def score(self, X: Any, y: Any = None) -> float:
        return float(np.mean(self.predict(X) == y))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def _pixels(rows: np.ndarray) -> np.ndarray:
    levels = np.clip(np.rint((rows + REACH) * (LEVELS / (2 * REACH))), 0, LEVELS).astype("int64")
    images = np.zeros((len(rows), HEIGHT, 2, 1), "uint8")
    images[:, : rows.shape[1], :, 0] = np.stack([levels // 256, levels % 256], axis=-1)
    return images
