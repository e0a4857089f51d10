"""How many classes a split has, for learners that need to know."""

from data_pipelines.class_split import LABEL_LEVELS
from data_pipelines.dataset import FewShotDataset


def count_classes(dataset: FewShotDataset, split: str = "train", level: str = "class") -> int:
    """Classes or superclasses of a split.

    Args:
        dataset: `FewShotDataset`.
        split: str.
        level: str. `"class"` or `"superclass"`.

    Returns:
        int.

    Raises:
        ValueError: if `level` is neither.
    """
    if level not in LABEL_LEVELS:
        raise ValueError(f"`level` must be one of {LABEL_LEVELS}; received level={level!r}.")
    classes = dataset.split(split)
    return classes.num_classes if level == "class" else classes.num_superclasses
