"""CIFAR-100: 100 classes in 20 superclasses, 600 colour images of 32x32 each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.class_lists import read_class_lists
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_files import require_folders
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.tfds_builders import read_tfds, stock_builder

INFO = DatasetInfo(
    name="cifar100",
    description=(
        "Colour photographs of 100 classes; the 500 training and 100 test images of each are "
        "merged, since few-shot splits divide classes, not images."
    ),
    superclass="coarse class (20, of five fine classes each)",
    licence="not stated by the authors; a labelled subset of Tiny Images",
    citation=(
        "Alex Krizhevsky. Learning Multiple Layers of Features from Tiny Images. Technical "
        "report, University of Toronto, 2009."
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    image_shape=(32, 32, 3),
    num_classes=100,
    num_images=60_000,
    split_names=("all",),
)
IMAGES_PER_CLASS = 600


def superclasses() -> dict[str, str]:
    """Maps each of the 100 fine classes to its superclass, in alphabetical order of both."""
    hierarchy = read_class_lists("cifar100_hierarchy")["superclasses"]
    return dict(sorted((fine, coarse) for coarse, members in hierarchy.items() for fine in members))


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """One split `train` with all classes: plain CIFAR-100 has no few-shot lists of its own."""
    INFO.check_split(split)
    return {"train": list(superclasses())}


def reader(source: Path | None, work_dir: Path) -> DatasetReader:
    """Reads `{train,test}/<fine class>/*`, or TFDS's own `cifar100` without a source."""
    coarse = superclasses()
    classes = [StoredClass(fine, coarse[fine], IMAGES_PER_CLASS) for fine in coarse]
    if source is None:
        return _tfds_reader(classes)
    require_folders(source, ("train", "test"), "{train,test}/<fine class>/*.png")
    files = {}
    for entry in classes:
        found = [
            file
            for part in ("train", "test")
            for file in list_images(source / part / entry.name, missing_ok=True)
        ]
        if len(found) != IMAGES_PER_CLASS:
            raise ValueError(
                f"Class {entry.name!r} has {len(found)} images under {source}/train and "
                f"{source}/test, expected {IMAGES_PER_CLASS}."
            )
        files[entry.name] = found
    return DatasetReader.of_files(
        ImageSet(source, files), coarse, INFO.image_shape, "class folders"
    )


def _tfds_reader(classes: list[StoredClass]) -> DatasetReader:
    builder = stock_builder("cifar100", "www.cs.toronto.edu")
    names = builder.info.features["label"].names
    index = {entry.name: i for i, entry in enumerate(classes)}

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for part in ("train", "test"):
            for example in read_tfds(builder, part):
                yield index[names[int(example["label"])]], example["image"]

    return DatasetReader(classes, images, INFO.image_shape, {"source": builder.info.full_name})
