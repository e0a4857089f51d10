"""The embedded characters in three styles, each a mode: a mixture with nothing to download."""

from dataclasses import replace
from pathlib import Path

from data_pipelines.datasets import glyphs, mixture
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.mixture import split_lists as split_lists  # Those of the parts.
from data_pipelines.datasets.mixture_part import MixturePart

PARTS = ("glyphs", "glyphs:inverted:coloured", "glyphs:textured")

INFO = replace(
    glyphs.INFO,
    name="glyph_modes",
    description=(
        "The embedded characters three times, each time a mode: black on white; light on dark in "
        "colours of their own; over coarse patterns."
    ),
    superclass="style and script (36)",
    image_shape=(28, 28, 3),
    num_classes=len(PARTS) * glyphs.INFO.num_classes,
    num_images=len(PARTS) * glyphs.INFO.num_images,
    split_names=(),
    checksum=None,
    from_stores=True,
)


def reader(source: Path | None, work_dir: Path, data_dir: str | None = None) -> DatasetReader:
    """Reads the store of the embedded characters; see `mixture.reader`."""
    parts = tuple(map(MixturePart.parse, PARTS))
    return mixture.reader(source, work_dir, parts, INFO.image_shape, data_dir)
