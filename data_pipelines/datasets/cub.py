"""CUB-200-2011: photographs of 200 species of birds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.class_lists import read_class_lists, split_lists_in
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_files import scaled
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.tfds_builders import read_tfds, stock_builder

LAYOUT = "CUB_200_2011/images/<number>.<species>/*.jpg, or what lies in one of these folders"
TFDS_SPLITS = ("train", "test")
#: TFDS decodes the masks too, which nobody asks for here.
NEEDS = {"cv2": "opencv-python-headless"}

INFO = DatasetInfo(
    name="cub",
    description=(
        "Photographs of 200 species of birds, 41 to 60 of each, whole pictures scaled to 84x84 "
        "without keeping the aspect ratio."
    ),
    superclass="none (all classes share one)",
    licence="not stated by the authors; photographs of Flickr, for research and education",
    citation=(
        "Catherine Wah, Steve Branson, Peter Welinder, Pietro Perona, Serge Belongie. The "
        "Caltech-UCSD Birds-200-2011 Dataset. Technical report CNS-TR-2011-001, California "
        "Institute of Technology, 2011."
    ),
    homepage="https://www.vision.caltech.edu/datasets/cub_200_2011",
    image_shape=(84, 84, 3),
    num_classes=200,
    num_images=11_788,
    split_names=("meta_dataset", "torchmeta", "mmaml"),
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of species per split.

    Args:
        store: `ClassStore` or None. Not needed.
        split: str or None. `"meta_dataset"` (140/30/30, default), `"torchmeta"` (100/50/50) or
            `"mmaml"` (140/30/30, by the rule of the multimodal papers).
        seed: int. Not needed.

    Returns:
        dict from split name to the list of species, `001.Black_footed_Albatross`.
    """
    return split_lists_in(read_class_lists("cub")[INFO.check_split(split)])


def species() -> list[str]:
    """All 200 species, in the order of their numbers."""
    return sorted(name for names in split_lists().values() for name in names)


def reader(source: Path | None, work_dir: Path) -> DatasetReader:
    """Reads the folders of the archive, or TFDS's own `caltech_birds2011` without a source."""
    if source is None:
        return _tfds_reader()
    files = find_files(source)
    return DatasetReader.of_files(
        ImageSet(source, files), dict.fromkeys(files, "all"), INFO.image_shape, "class folders"
    )


def find_files(source: Path) -> dict[str, list[Path]]:
    """Image files of each species.

    Args:
        source: `pathlib.Path`.

    Returns:
        dict from species to its files, both sorted by name.

    Raises:
        ValueError: species are missing.
    """
    roots = (source / "CUB_200_2011" / "images", source / "images", source)
    root = next(folder for folder in roots if folder.is_dir())
    files = {name: list_images(root / name, missing_ok=True) for name in species()}
    missing = [name for name, found in files.items() if not found]
    if missing:
        raise ValueError(
            f"{root} lacks {len(missing)} of the 200 species, for example {missing[0]}; expected "
            f"{LAYOUT}."
        )
    return {name: list(found) for name, found in files.items()}


def _tfds_reader() -> DatasetReader:
    builder = stock_builder("caltech_birds2011", "data.caltech.edu", NEEDS)
    # Its labels are the numbers of the species, from 0, without names.
    counts = np.zeros(len(species()), "int64")
    for part in TFDS_SPLITS:
        for example in read_tfds(builder, part, ("label",)):
            counts[int(example["label"])] += 1

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for part in TFDS_SPLITS:
            for example in read_tfds(builder, part, ("image", "label")):
                yield int(example["label"]), scaled(example["image"], INFO.image_shape[:2])

    return DatasetReader(
        [
            StoredClass(name, "all", int(count))
            for name, count in zip(species(), counts, strict=True)
        ],
        images,
        INFO.image_shape,
        {"source": builder.info.full_name},
    )
