"""Tasks that are drawn from a formula: there is nothing to prepare."""

import hashlib

import numpy as np

from data_pipelines.class_split import SPLITS, ClassSplit

#: Names of families of functions, and the sampler that draws them.
FUNCTIONS = {"sinusoids": "sinusoid_episode"}


class FunctionDataset:
    """Splits that differ in their random streams alone; the sampler makes the tasks.

    Args:
        name: str. Key of `FUNCTIONS`.

    Raises:
        ValueError: for another name.

    Example:
    ```python
    from data_pipelines.function_dataset import FunctionDataset

    dataset = FunctionDataset("sinusoids")
    assert dataset.split_names == ("train", "val", "test")
    assert dataset.split("val").num_classes == 0
    ```
    """

    #: Functions have neither images nor classes.
    store = None
    image_shape = None
    held_out_images = 0

    def __init__(self, name: str) -> None:
        if name not in FUNCTIONS:
            raise ValueError(f"Unknown functions {name!r}; known are {', '.join(FUNCTIONS)}.")
        self.name = name
        self.splits = {split: (split,) for split in SPLITS}

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names that `split` takes."""
        return SPLITS

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the name."""
        return hashlib.sha256(f"functions:{self.name}".encode()).hexdigest()

    def split(self, name: str) -> ClassSplit:
        """A split without classes, as samplers take it.

        Raises:
            ValueError: there is no split of that name.
        """
        if name not in self.splits:
            raise ValueError(
                f"{self.name} has no split {name!r}; it has {', '.join(self.split_names)}."
            )
        none = np.zeros(0, "int64")
        return ClassSplit(name, (), none, none, none.astype("int32"), ())
