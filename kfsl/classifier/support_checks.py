"""What a support set is refused for before its images are looked at."""

from collections import Counter
from collections.abc import Hashable, Sequence

from kfsl.prediction.request_checks import (
    check_base_classes,
    check_rejection,
    check_shots,
    check_ways,
)
from kfsl.prediction.served_learner import ServedLearner


def check_support_set(
    served: ServedLearner,
    labels: Sequence[Hashable],
    base_classes: bool = False,
    none_label: Hashable = None,
) -> None:
    """Refuses a support set that does not fit the model, or what is asked of it.

    Args:
        served: `ServedLearner`.
        labels: sequence of hashable labels, one for each image.
        base_classes: bool. Whether images may be of classes of the training.
        none_label: hashable, or None. What an image of none of the classes is called.

    Raises:
        ValueError: naming what is wrong.
    """
    description, counts = served.description, Counter(labels)
    if len(counts) < 2:
        raise ValueError(f"A support set has 2 classes or more; received 1 class, {labels[0]!r}.")
    check_ways(description, len(counts), "the support set")
    check_shots(description, counts)
    if base_classes:
        check_base_classes(description, served.trained_on)
    if none_label is None:
        return
    if base_classes:
        raise ValueError("`none_label` does not go with `base_classes=True`; leave one out.")
    if none_label in counts:
        raise ValueError(f"none_label={none_label!r} is a class of the support set.")
    check_rejection(description, counts.values(), served.steps)
