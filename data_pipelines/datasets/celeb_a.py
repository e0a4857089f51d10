"""CelebA: aligned photographs of faces, for tasks that are images and not classes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.class_lists import split_lists_in
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_files import scaled
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.tfds_builders import read_tfds, stock_builder

IMAGES = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
LAYOUT = f"{IMAGES}/*.jpg and {PARTITION}, a line `<file> <0, 1 or 2>` for each image"
#: What reads the page that Google Drive puts before a large file.
NEEDS = {"bs4": "beautifulsoup4"}
#: TFDS's names of the three parts.
TFDS_SPLITS = {"train": "train", "val": "validation", "test": "test"}

INFO = DatasetInfo(
    name="celeb_a",
    description=(
        "202,599 aligned photographs of faces, scaled from 178x218 to 32x32 without keeping the "
        "aspect ratio. Each part of the official partition is one class: the tasks are images."
    ),
    superclass="none (all classes share one)",
    licence="for non-commercial research only",
    citation=(
        "Ziwei Liu, Ping Luo, Xiaogang Wang, Xiaoou Tang. Deep learning face attributes in the "
        "wild. ICCV 2015."
    ),
    homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    image_shape=(32, 32, 3),
    num_classes=3,
    # A folder may hold a part of them.
    num_images=None,
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """The official partition: a class for each part.

    Args:
        store: `ClassStore` or None. Not needed.
        split: str or None. There is one division.
        seed: int. Not needed.

    Returns:
        dict from split name to its one class, of the same name.
    """
    INFO.check_split(split)
    return split_lists_in({part: [part] for part in SPLITS})


def reader(source: Path | None, work_dir: Path) -> DatasetReader:
    """Reads the aligned images and their partition, or TFDS's own `celeb_a` without a source."""
    if source is None:
        return _tfds_reader()
    files = find_files(source)
    return DatasetReader.of_files(
        ImageSet(source, files), dict.fromkeys(files, "all"), INFO.image_shape, "aligned images"
    )


def find_files(source: Path) -> dict[str, list[Path]]:
    """The image files of each part.

    Args:
        source: `pathlib.Path`.

    Returns:
        dict from part to its files, sorted by name.

    Raises:
        FileNotFoundError: the partition is missing.
        ValueError: it is malformed, names no image of a part, or an image is in none.
    """
    path = next(iter(source.rglob(PARTITION)), None)
    if path is None:
        raise FileNotFoundError(f"{source} has no {PARTITION}; expected {LAYOUT}.")
    folder = next((each for each in (source / IMAGES, path.parent / IMAGES) if each.is_dir()), None)
    part_of = read_partition(path)
    files: dict[str, list[Path]] = {part: [] for part in SPLITS}
    for file in list_images(folder or source):
        if file.name not in part_of:
            raise ValueError(f"{path} does not say which part {file.name} belongs to.")
        files[part_of[file.name]].append(file)
    empty = [part for part, found in files.items() if not found]
    if empty:
        raise ValueError(
            f"{folder or source} has no image of the part {empty[0]!r}; expected {LAYOUT}."
        )
    return files


def read_partition(path: Path) -> dict[str, str]:
    """Which part each file belongs to.

    Args:
        path: `pathlib.Path`. Lines of a file's name and 0, 1 or 2.

    Returns:
        dict from file name to `"train"`, `"val"` or `"test"`.

    Raises:
        ValueError: naming the line that is malformed.
    """
    part_of = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise ValueError(
                f"{path}, line {number}: expected a file name and 0, 1 or 2; received {line!r}."
            )
        part_of[words[0]] = SPLITS[int(words[1])]
    return part_of


def _tfds_reader() -> DatasetReader:
    builder = stock_builder("celeb_a", "drive.google.com", NEEDS)
    counts = {part: builder.info.splits[name].num_examples for part, name in TFDS_SPLITS.items()}

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for index, name in enumerate(TFDS_SPLITS.values()):
            for example in read_tfds(builder, name, ("image",)):
                yield index, scaled(example["image"], INFO.image_shape[:2])

    return DatasetReader(
        [StoredClass(part, "all", count) for part, count in counts.items()],
        images,
        INFO.image_shape,
        {"source": builder.info.full_name},
    )
