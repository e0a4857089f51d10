"""What a learner has to say of the classes that it was trained on."""

from collections.abc import Iterable
from typing import Any


class BaseClassAnswers:
    """Answers about base classes; of a method that keeps none, why there are none."""

    #: Base classes that new ones can be told from (`classify_jointly`); 0: it keeps none.
    kept_base_classes: int = 0

    #: Images of base classes that it looks at before anything is trained or validated.
    base_images: int = 0

    def classify_base(self, query_features: Any, training: bool = False) -> dict[str, Any]:
        """Answers for a batch of base classes, which has no support set.

        Args:
            query_features: tensor, `[B, Q, ...]`, from `embed`.
            training: bool.

        Returns:
            As `infer`, over all base classes.
        """
        raise ValueError(
            f"{type(self).__name__} needs a support set: it received an episode without one. Draw "
            "episodes, or use a learner that classifies base classes (`classify_base`)."
        )

    def see_base_images(self, images: Iterable[Any]) -> None:
        """Looks at images of base classes, `base_images` or a few less of them.

        Args:
            images: iterable of tensors, `[n, H, W, C]`, raw pixels; each a batch.
        """
        raise NotImplementedError

    def classify_jointly(self, state: dict[str, Any], query_features: Any) -> dict[str, Any]:
        """Answers for queries that may be of base classes or of the support set's.

        Args:
            state: dict, from `adapt`.
            query_features: tensor, `[B, Q, ...]`, from `embed`.

        Returns:
            As `infer`, over all base classes and then the support set's.
        """
        raise ValueError(
            f"{type(self).__name__} keeps no base classes, so new ones cannot be told from them. "
            "Ask for new classes alone, or use a learner that classifies base classes."
        )
