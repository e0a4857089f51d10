"""FGVC-Aircraft: photographs of 100 variants of aeroplanes, 100 of each."""

from collections.abc import Iterator
from pathlib import Path

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets.class_lists import read_class_lists, split_lists_in
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.folder_listing import list_images, printable
from data_pipelines.datasets.image_set import ImageSet

IMAGES_PER_CLASS = 100
PARTS = ("train", "val", "test")
LAYOUT = (
    "fgvc-aircraft-2013b/data/ with images/*.jpg and images_{variant,manufacturer}_{train,val,test}"
    ".txt, or what lies in one of these folders"
)

INFO = DatasetInfo(
    name="aircraft",
    description=(
        "Photographs of 100 variants of aeroplanes, whole pictures with the line at their lower "
        "edge, scaled to 84x84 without keeping the aspect ratio; those that the authors give for "
        "training, validation and test are merged, since few-shot splits divide classes."
    ),
    superclass="manufacturer (30)",
    licence="exclusively for non-commercial research",
    citation=(
        "Subhransu Maji, Juho Kannala, Esa Rahtu, Matthew Blaschko, Andrea Vedaldi. Fine-Grained "
        "Visual Classification of Aircraft. arXiv 1306.5151, 2013."
    ),
    homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
    image_shape=(84, 84, 3),
    num_classes=100,
    num_images=10_000,
    split_names=("meta_dataset", "mmaml"),
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of variants per split: 70 / 15 / 15.

    Args:
        store: `ClassStore` or None. Not needed.
        split: str or None. `"meta_dataset"` (default) or `"mmaml"` (by the rule of the multimodal
            papers).
        seed: int. Not needed.

    Returns:
        dict from split name to the list of variants, such as `F/A-18`.
    """
    return split_lists_in(read_class_lists("aircraft")[INFO.check_split(split)])


def variants() -> list[str]:
    """All 100 variants, sorted."""
    return sorted(name for names in split_lists().values() for name in names)


def reader(source: Path | None, work_dir: Path) -> DatasetReader:
    """Reads the folder of the archive; TFDS has no dataset of it."""
    if source is None:
        raise ValueError(
            "FGVC-Aircraft is in no catalogue of TFDS. Unpack the archive of its homepage and "
            f"give --source=PATH, laid out as {LAYOUT}."
        )
    root = _data_folder(source)
    files = find_files(root)
    images = ImageSet(source, files)
    return DatasetReader.of_files(images, _makers(root, files), INFO.image_shape, "archive")


def find_files(root: Path) -> dict[str, list[Path]]:
    """Image files of each variant, as the three lists name them.

    Args:
        root: `pathlib.Path`. The folder `data` of the archive.

    Returns:
        dict from variant to its files, both sorted by name.

    Raises:
        ValueError: a list names a variant or an image that there is not, or not 100 of each.
    """
    present = {file.stem: file for file in list_images(root / "images")}
    files: dict[str, list[Path]] = {name: [] for name in variants()}
    for number, name, table in _labels(root, "variant"):
        if name not in files:
            raise ValueError(f"{table} lists {name!r}, which is no variant of FGVC-Aircraft.")
        if number not in present:
            raise ValueError(f"{table} lists image {number}, which {root / 'images'} lacks.")
        files[name].append(present[number])
    for name, found in files.items():
        if len(set(found)) != IMAGES_PER_CLASS:
            raise ValueError(
                f"Variant {name!r} has {len(set(found))} images in {root}, expected "
                f"{IMAGES_PER_CLASS}."
            )
    return {name: sorted(found) for name, found in files.items()}


def _data_folder(source: Path) -> Path:
    roots = (source / "fgvc-aircraft-2013b" / "data", source / "data", source)
    for root in roots:
        if (root / "images_variant_train.txt").is_file() and (root / "images").is_dir():
            return root
    raise ValueError(f"{source} is not laid out as {LAYOUT}.")


def _makers(root: Path, files: dict[str, list[Path]]) -> dict[str, str]:
    """The manufacturer of each variant."""
    of_image = {number: name for number, name, _ in _labels(root, "manufacturer")}
    makers = {}
    for name, found in files.items():
        unknown = [file.stem for file in found if file.stem not in of_image]
        if unknown:
            raise ValueError(f"{root} names no manufacturer of image {printable(unknown[0])}.")
        makers[name] = of_image[found[0].stem]
    return makers


def _labels(root: Path, kind: str) -> Iterator[tuple[str, str, Path]]:
    """`(image, label, file)`; a line is the number of an image, a space and a label."""
    for part in PARTS:
        table = root / f"images_{kind}_{part}.txt"
        if not table.is_file():
            raise ValueError(f"{root} has no {table.name}; expected {LAYOUT}.")
        for line in table.read_text("utf-8").splitlines():
            number, _, label = line.strip().partition(" ")
            if number:
                yield number, label.strip(), table
