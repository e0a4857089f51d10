"""Glyphs: characters of 12 scripts, drawn from the fonts that matplotlib ships."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.beam_runner import BeamRunner
from data_pipelines.datasets.class_lists import read_split_lists
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.tfds_builders import build, read_labelled

DRAWINGS = 20
CHECKSUM_HINT = (
    "other versions of matplotlib or Pillow draw other pixels; install the pinned ones "
    "(constraints.txt)."
)

INFO = DatasetInfo(
    name="glyphs",
    description=(
        "Letters and digits of 12 scripts, 20 drawings of each: a face and a small affine change. "
        "No two characters look alike in any face. Needs no download."
    ),
    superclass="script (12)",
    licence="drawn here; the faces are DejaVu, STIX and Computer Modern, under their free licences",
    citation="The fonts shipped with matplotlib: John D. Hunter. Matplotlib: A 2D Graphics "
    "Environment. Computing in Science and Engineering 9(3), 2007.",
    homepage="https://matplotlib.org",
    image_shape=(28, 28, 1),
    num_classes=1413,
    num_images=28_260,
    checksum="6afec4184a179dc54b10fc4a16d4fe992a94ee86b4fa5ac931aa9eb1c3acb7a1",
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of classes per split, 64 / 16 / 20 % of the characters, drawn once at random."""
    INFO.check_split(split)
    return read_split_lists("glyphs")


def divide(names: list[str], seed: int = 0) -> dict[str, list[str]]:
    """The rule behind the lists: 64 / 16 / 20 % of the classes, shuffled by a seed."""
    order = np.random.RandomState(seed).permutation(len(names))
    train, val = round(0.64 * len(names)), round(0.16 * len(names))
    parts = np.split(order, [train, train + val])
    return {
        split: [names[i] for i in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)
    }


def reader(source: Path | None, work_dir: Path, beam: BeamRunner | None = None) -> DatasetReader:
    """Draws the characters as a TFDS dataset in `work_dir`, on Beam if asked, and reads that."""
    if source is not None:
        raise ValueError(f"glyphs are drawn, not read: remove --source={source}.")
    names = sorted(name for classes in split_lists().values() for name in classes)
    classes = [StoredClass(name, name.split("/")[0], DRAWINGS) for name in names]
    index = {name: i for i, name in enumerate(names)}

    def drawings(name: str) -> Iterator[tuple[str, np.ndarray]]:
        from data_pipelines.datasets.glyph_drawings import draw_character
        from data_pipelines.datasets.glyph_fonts import character_of

        for i, image in enumerate(draw_character(character_of(name))):
            yield f"{name}_{i:02d}", image

    def builder() -> Any:
        from data_pipelines.datasets.labelled_builder import labelled_builder

        return labelled_builder(
            "Glyphs", INFO, split_lists(), drawings, work_dir / "tfds", beam is not None
        )

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for name, image in read_labelled(builder()):
            yield index[name], image

    return DatasetReader(
        classes,
        images,
        INFO.image_shape,
        {"source": "drawn from fonts"},
        build=lambda: build(builder(), work_dir / "tfds", beam),
    )
