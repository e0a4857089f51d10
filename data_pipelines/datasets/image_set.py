"""The image files of a source, by class: checked first, then read by one rule."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.datasets.folder_listing import left_out_words, printable
from data_pipelines.datasets.image_files import check_headers, is_blank, read_image
from data_pipelines.datasets.value_range import ValueRange

#: Files that a line names; the others are counted.
SHOWN = 3


class ImageSet:
    """The image files of a source.

    Args:
        root: `pathlib.Path`. The folder that was named as the source.
        files: mapping from class name to its files, in the order in which they are read.
        left_out: mapping from a reason to the number of files left out for it. Defaults to none.

    Attributes:
        formats: mapping from file format, such as `"jpeg"`, to the number of files; known after
            `check`.
        blank: list of `pathlib.Path`. Files read so far in which hardly anything can be seen.
    """

    def __init__(
        self,
        root: Path,
        files: Mapping[str, Sequence[Path]],
        left_out: Mapping[str, int] | None = None,
    ):
        self.root = root
        self.files = files
        self.left_out = Counter(left_out or {})
        self.formats: Mapping[str, int] = {}
        self.blank: list[Path] = []
        self._values = ValueRange()

    def check(self) -> None:
        """Opens all files, and finds how those of more than 8 bits are to be scaled.

        Raises:
            ValueError: a file cannot be read; the message names it.
        """
        every = (file for files in self.files.values() for file in files)
        self.formats, self._values = check_headers(every)

    def read(self, file: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
        """Reads one of the files, after `check`.

        Args:
            file: `pathlib.Path`.
            image_shape: tuple `(H, W, C)` in pixels.

        Returns:
            uint8 array of that shape.

        Raises:
            ValueError: it cannot be read; the message names it.
        """
        pixels = read_image(file, image_shape, self._values)
        if is_blank(pixels):
            self.blank.append(file)
        return pixels

    def name(self, file: Path) -> str:
        """A file's name within the source, with `/` on every system, fit to be printed."""
        return printable(file.relative_to(self.root).as_posix())

    def description(self) -> dict[str, object]:
        """What `check` found, as a store records it."""
        found: dict[str, object] = {"source_formats": dict(self.formats)}
        if ranges := self._values.chosen():
            found["value_ranges"] = ranges
        return found

    def notes(self) -> list[str]:
        """Lines for the user: what was left out, how deep images were scaled, which are blank."""
        lines = []
        if words := left_out_words(self.left_out):
            lines.append(f"Left out: {words}.")
        for kind, (low, high) in self._values.chosen().items():
            lines.append(f"Images of {kind} were scaled from {low:g}..{high:g} to 0..255.")
        if self.blank:
            lines.append(f"Warning: {blank_words([self.name(file) for file in self.blank])}")
        return lines


def blank_words(names: Sequence[str]) -> str:
    """A sentence that names images in which hardly anything can be seen.

    Args:
        names: sequence of str, not empty.

    Returns:
        str.
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        "Hardly anything can be seen in these images, (nearly) all of their pixels have one value: "
        f"{', '.join(names[:SHOWN])}{more}. Look at them before you trust a result."
    )
