"""miniImageNet: 100 classes of ImageNet, 600 colour images of 84x84 each."""

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
from data_pipelines.datasets.folder_listing import list_images, printable
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.tables import read_table
from data_pipelines.datasets.tfds_builders import build, read_labelled

IMAGES_PER_CLASS = 600
LAYOUT = (
    "<wnid>/*.jpg, {train,val,test}/<wnid>/*.jpg, or images/ with train.csv, val.csv and test.csv "
    "(filename,label)"
)

INFO = DatasetInfo(
    name="mini_imagenet",
    description=(
        "Photographs of 100 ImageNet classes at 84x84, in 64 / 16 / 20 classes. Lists: Sachin "
        "Ravi, Hugo Larochelle. Optimization as a model for few-shot learning. ICLR 2017. Images "
        "of another size are scaled without keeping the aspect ratio."
    ),
    superclass="none (all classes share one)",
    licence="ImageNet's terms of access: non-commercial research and education",
    citation=(
        "Oriol Vinyals, Charles Blundell, Timothy Lillicrap, Koray Kavukcuoglu, Daan Wierstra. "
        "Matching Networks for One Shot Learning. NIPS 2016."
    ),
    homepage="https://image-net.org",
    image_shape=(84, 84, 3),
    num_classes=100,
    num_images=60_000,
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of WordNet ids per split: 64 / 16 / 20."""
    INFO.check_split(split)
    return read_split_lists("mini_imagenet")


def reader(source: Path | None, work_dir: Path, beam: BeamRunner | None = None) -> DatasetReader:
    """Writes the source as a TFDS dataset in `work_dir`, on Beam if asked, and reads that."""
    if source is None:
        raise ValueError(
            "miniImageNet cannot be downloaded freely. Give a folder with the images, "
            f"--source=PATH, laid out as {LAYOUT}."
        )
    files = find_files(source)
    names = sorted(files)
    for name in names:
        if len(files[name]) != IMAGES_PER_CLASS:
            raise ValueError(
                f"Class {name} has {len(files[name])} images in {source}, expected "
                f"{IMAGES_PER_CLASS}."
            )
    classes = [StoredClass(name, "all", IMAGES_PER_CLASS) for name in names]
    index = {name: i for i, name in enumerate(names)}
    source_images = ImageSet(source, {name: files[name] for name in names})

    def pictures(name: str) -> Iterator[tuple[str, np.ndarray]]:
        for file in files[name]:
            yield f"{name}/{printable(file.name)}", source_images.read(file, INFO.image_shape)

    def builder() -> Any:
        from data_pipelines.datasets.labelled_builder import labelled_builder

        return labelled_builder(
            "MiniImagenet", INFO, split_lists(), pictures, work_dir / "tfds", beam is not None
        )

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for name, image in read_labelled(builder()):
            yield index[name], image

    return DatasetReader(
        classes,
        images,
        INFO.image_shape,
        {"source": "folders"},
        build=lambda: build(builder(), work_dir / "tfds", beam),
        source=source_images,
    )


def find_files(source: Path) -> dict[str, list[Path]]:
    """Image files of each class, whichever of the three layouts the source has.

    Args:
        source: `pathlib.Path`.

    Returns:
        dict from WordNet id to its files, sorted by name.

    Raises:
        ValueError: classes or files are missing, or the CSV files cannot be read.
    """
    wanted = [name for names in split_lists().values() for name in names]
    if all((source / f"{split}.csv").is_file() for split in SPLITS):
        files = _files_of_csv(source)
    else:
        roots = [source / split for split in SPLITS if (source / split).is_dir()] or [source]
        files = {
            name: [file for root in roots for file in list_images(root / name, missing_ok=True)]
            for name in wanted
        }
    missing = [name for name in wanted if not files.get(name)]
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} of the 100 classes, for example {missing[0]}; "
            f"expected {LAYOUT}."
        )
    unknown = sorted(set(files) - set(wanted))
    if unknown:
        raise ValueError(f"{source} lists {unknown[0]!r}, which is no class of miniImageNet.")
    return files


def _files_of_csv(source: Path) -> dict[str, list[Path]]:
    present = {file.name for file in list_images(source / "images")}
    files: dict[str, list[Path]] = {}
    for split in SPLITS:
        table = source / f"{split}.csv"
        for row in read_table(table, ("filename", "label")):
            if row["filename"] not in present:
                raise ValueError(
                    f"{table} lists {row['filename']}, which {source / 'images'} lacks."
                )
            files.setdefault(row["label"], []).append(source / "images" / row["filename"])
    return {name: sorted(found) for name, found in files.items()}
