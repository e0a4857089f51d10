"""A support set whose files lie anywhere: what counts is the class into which each was dropped."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.datasets.folder_listing import printable
from kfsl.prediction.image_folders import SupportFiles


@dataclasses.dataclass(frozen=True)
class DroppedFiles(SupportFiles):
    """Image files and the class of each, in the order in which a classifier learnt them.

    Example:
    ```python
    from pathlib import Path
    from kfsl.demo.dropped_files import DroppedFiles

    dropped = DroppedFiles.of([Path("x/1.png"), Path("y/2.png")], ["dog", "cat"])
    assert dropped.classes == ("cat", "dog") and dropped.names == ["dog/1.png", "cat/2.png"]
    ```
    """

    @classmethod
    def of(cls, files: Sequence[Path], names: Sequence[str]) -> "DroppedFiles":
        """Files with the name of the class of each.

        Args:
            files: sequence of `pathlib.Path`.
            names: sequence of str, one for each file.

        Returns:
            `DroppedFiles`, classes sorted by name.
        """
        classes = tuple(sorted(set(names)))
        labels = tuple(classes.index(name) for name in names)
        return cls(Path(), tuple(files), classes=classes, labels=labels)

    @property
    def names(self) -> list[str]:
        """`class/file`, fit to be printed."""
        return [
            printable(f"{self.classes[label]}/{file.name}")
            for file, label in zip(self.files, self.labels, strict=True)
        ]
