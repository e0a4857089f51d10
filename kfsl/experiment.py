"""What all commands need to know of a run: the learner, the data, the episodes."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from data_pipelines.class_split import LABEL_LEVELS
from data_pipelines.dataset import FewShotDataset
from data_pipelines.function_dataset import FunctionDataset
from kfsl.argument_checks import check_made, told
from kfsl.learners.base.learner import Learner

#: What a sampler is given, in this order.
DRAWN_BY = ("split", "seed", "index")


@dataclasses.dataclass
class Experiment:
    """A learner, the data it learns from, and the episodes drawn from them.

    Args:
        learner: `Learner`.
        dataset: `FewShotDataset`, or `FunctionDataset`.
        sampler: callable, `(split, seed, index) -> indices`, for training episodes.
        evaluation_sampler: callable or None, for validation and test; `sampler` when None.
        label_level: str. `"class"` or `"superclass"`: whose ids travel with the episodes as
            `support_classes` and `query_classes`.

    Attributes:
        weights: str. SHA-256 (hex) of the file that the learner's weights were loaded from;
            empty if they were not. Another learner, by `dataclasses.replace`, has none.

    Raises:
        ValueError: if an argument is of a wrong type, `label_level` is not one of the two, or the
            backbone is made for images of another shape than the dataset's.
    """

    learner: Learner
    dataset: FewShotDataset | FunctionDataset
    sampler: Callable
    evaluation_sampler: Callable | None = None
    label_level: str = "class"
    weights: str = dataclasses.field(default="", init=False)

    def __post_init__(self) -> None:
        check_made("Experiment.learner", self.learner, Learner, "a learner", "PrototypicalNetwork")
        data = FewShotDataset | FunctionDataset
        check_made("Experiment.dataset", self.dataset, data, "a dataset", "load_dataset")
        _check_sampler("sampler", self.sampler)
        if self.evaluation_sampler is not None:
            _check_sampler("evaluation_sampler", self.evaluation_sampler)
        if self.label_level not in LABEL_LEVELS:
            raise ValueError(
                f'`label_level` must be "class" or "superclass"; received {self.label_level!r}.'
            )
        _check_image_shape(self.learner, self.dataset)
        if self.evaluation_sampler is None:
            self.evaluation_sampler = self.sampler


def _check_sampler(argument: str, sampler: Any) -> None:
    """Refuses what draws no episodes, as far as its parameters tell."""
    if callable(sampler) and not isinstance(sampler, type):
        try:
            parameters = list(inspect.signature(sampler).parameters)
            inspect.signature(sampler).bind_partial(*DRAWN_BY)
        except TypeError:
            parameters = None
        except ValueError:  # Of some callables Python does not know them.
            parameters = []
        # Other functions have such names too, elsewhere: load_dataset has a split.
        if parameters is not None and all(
            parameters.index(name) == place
            for place, name in enumerate(DRAWN_BY)
            if name in parameters
        ):
            return
    raise ValueError(
        f"Experiment.{argument} must be a function of (split, seed, index) that draws episodes, "
        f"such as @fixed_episode without brackets; received {told(sampler)}."
    )


def _check_image_shape(learner: Learner, dataset: FewShotDataset | FunctionDataset) -> None:
    backbone = getattr(learner, "backbone", None)
    if backbone is None or not learner.objective.has_classes:
        return  # Numbers are looked at when they are drawn.
    if dataset.image_shape is None:
        raise ValueError(
            f"{dataset.name!r} has functions and no images, and {type(learner).__name__} tells "
            "classes of images apart. Bind an objective of numbers, such as "
            "MAML.objective = @Regression()."
        )
    expected, given = _image_shape(backbone), tuple(dataset.image_shape)
    if len(expected) != len(given) or any(
        size not in (None, own) for size, own in zip(expected, given, strict=True)
    ):
        raise ValueError(
            f"{type(backbone).__name__} is made for images of shape {expected}, and those of "
            f"{dataset.name!r} are {given}. Bind IMAGE_SHAPE = {given}."
        )


def _image_shape(backbone: keras.Model) -> tuple:
    try:
        return tuple(backbone.input_shape[1:])
    except (AttributeError, TypeError):
        raise ValueError(
            f"The backbone {backbone.name!r} ({type(backbone).__name__}) does not say what images "
            "it is made for: it is not built, or has several inputs. Give a functional model, "
            "keras.Model(inputs, outputs), or a keras.Sequential that begins with keras.Input."
        ) from None
