"""The support set of a classifier: features, labels, and how deep images were scaled."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from data_pipelines.datasets.value_range import ValueRange


@dataclasses.dataclass(frozen=True)
class SupportSet:
    """What is kept of the images of a support set.

    Args:
        features: array, `[S, ...]`, or None where there is no image yet.
        labels: list of hashable labels, `S`.
        values: `ValueRange`. Of the images of more than 8 bits.

    Example:
    ```python
    import numpy as np
    from data_pipelines.datasets.value_range import ValueRange
    from kfsl.classifier.support_set import SupportSet

    support = SupportSet.empty().extended(np.zeros((2, 8)), ["a", "b"], ValueRange())
    assert support.counts() == {"a": 1, "b": 1}
    ```
    """

    features: np.ndarray | None
    labels: list[Hashable]
    values: ValueRange

    @classmethod
    def empty(cls) -> SupportSet:
        """No image."""
        return cls(None, [], ValueRange())

    def counts(self) -> Counter[Hashable]:
        """Images of each class."""
        return Counter(self.labels)

    def extended(
        self, features: np.ndarray, labels: Sequence[Hashable], values: ValueRange
    ) -> SupportSet:
        """With more images.

        Args:
            features: array, `[n, ...]`.
            labels: sequence of `n` labels.
            values: `ValueRange`, from `joined_values`.
        """
        if self.features is not None:
            features = np.concatenate([self.features, features])
        return SupportSet(features, [*self.labels, *labels], values)

    def joined_values(self, values: ValueRange) -> ValueRange:
        """The range from which further images are scaled: that of this set, or a new kind's own.

        Args:
            values: `ValueRange` of the further images.

        Returns:
            `ValueRange`.

        Raises:
            ValueError: if together they would be scaled from another range than these were.
        """
        joined = self.values.joined(values)
        now, then = joined.chosen(), self.values.chosen()
        for kind, before in then.items():
            if now[kind] != before:
                raise ValueError(
                    f"These images have {kind} that ask for the range {now[kind]}, and the support "
                    f"set was scaled from {before}: they cannot be compared. Give both as uint8, 0 "
                    "to 255, or fit with images of the whole range."
                )
        return joined
