"""Images whose files lie anywhere, known by the names of their files alone."""

import dataclasses

from data_pipelines.datasets.folder_listing import printable
from kfsl.prediction.image_folders import ImageFiles


@dataclasses.dataclass(frozen=True)
class DroppedImages(ImageFiles):
    """Image files that a browser or a user has put anywhere.

    Example:
    ```python
    from pathlib import Path
    from kfsl.demo.dropped_images import DroppedImages

    assert DroppedImages(Path(), (Path("/x/1.png"), Path("/y/2.png"))).names == ["1.png", "2.png"]
    ```
    """

    @property
    def names(self) -> list[str]:
        """Names of the files, fit to be printed."""
        return [printable(file.name) for file in self.files]
