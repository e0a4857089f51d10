"""What all commands need to know of a run: the learner, the data, the episodes."""

import dataclasses
from collections.abc import Callable

from data_pipelines.class_split import LABEL_LEVELS
from data_pipelines.dataset import FewShotDataset
from kfsl.learners.base.learner import Learner


@dataclasses.dataclass
class Experiment:
    """A learner, the data it learns from, and the episodes drawn from them.

    Args:
        learner: `Learner`.
        dataset: `FewShotDataset`.
        sampler: callable, `(split, seed, index) -> indices`, for training episodes.
        evaluation_sampler: callable or None, for validation and test; `sampler` when None.
        label_level: str. `"class"` or `"superclass"`: whose ids travel with the episodes as
            `support_classes` and `query_classes`.

    Raises:
        ValueError: if `label_level` is not one of the two, or the backbone is made for images
            of another shape than the dataset's.
    """

    learner: Learner
    dataset: FewShotDataset
    sampler: Callable
    evaluation_sampler: Callable | None = None
    label_level: str = "class"

    def __post_init__(self) -> None:
        if self.label_level not in LABEL_LEVELS:
            raise ValueError(
                f'`label_level` must be "class" or "superclass"; received {self.label_level!r}.'
            )
        _check_image_shape(self.learner, self.dataset)
        if self.evaluation_sampler is None:
            self.evaluation_sampler = self.sampler


def _check_image_shape(learner: Learner, dataset: FewShotDataset) -> None:
    backbone = getattr(learner, "backbone", None)
    if backbone is None:
        return
    expected, given = tuple(backbone.input_shape[1:]), tuple(dataset.image_shape)
    if any(size not in (None, own) for size, own in zip(expected, given, strict=True)):
        raise ValueError(
            f"{type(backbone).__name__} is made for images of shape {expected}, and those of "
            f"{dataset.name!r} are {given}. Bind IMAGE_SHAPE = {given}."
        )
