"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.class_lists import read_split_lists
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.folder_listing import list_images
from data_pipelines.datasets.image_set import ImageSet
from data_pipelines.datasets.tfds_builders import read_tfds, stock_builder

DRAWINGS = 20
ROTATIONS = 4
LAYOUT = (
    "<alphabet>/<character>/*.png, or images_background/ and images_evaluation/ with such folders"
)

INFO = DatasetInfo(
    name="omniglot",
    description=(
        "Handwritten characters, 20 drawings of each by 20 people, ink 0 on paper 255, at 28x28. "
        "The four rotations by 90 degrees are stored as classes of their own."
    ),
    superclass="alphabet (50)",
    licence="MIT",
    citation=(
        "Brenden M. Lake, Ruslan Salakhutdinov, Joshua B. Tenenbaum. Human-level concept learning "
        "through probabilistic program induction. Science 350(6266), 2015."
    ),
    homepage="https://github.com/brendenlake/omniglot",
    image_shape=(28, 28, 1),
    num_classes=1623 * ROTATIONS,
    num_images=1623 * ROTATIONS * DRAWINGS,
    split_names=("vinyals", "santoro", "crossmod", "leap", "mixed"),
    drawn_splits=("leap", "mixed"),
)

#: The multi-shot protocol: alphabets of the meta-training and the test set, the rest validates,
#: and characters of each alphabet.
LEAP_TRAIN, LEAP_TEST, LEAP_CHARACTERS = 25, 10, 20

#: MAML's protocol: characters of the meta-training and the validation set, the rest tests.
MIXED_TRAIN, MIXED_VAL = 1100, 100


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of characters, `<alphabet>/<character>`, without rotations.

    Args:
        store: `ClassStore` or None. Not needed.
        split: str or None. `"vinyals"` (1028/172/423), `"santoro"` (1200/423), `"crossmod"`
            (1000/200/423), `"leap"` (20 characters of each of 25/11/10 alphabets, drawn by
            the seed) or `"mixed"` (1100/100/423 characters of all alphabets, drawn by the seed:
            the alphabets of the test are known). Defaults to `"vinyals"`.
        seed: int. For `"leap"` and `"mixed"`: which alphabets and characters. Defaults to `0`.

    Returns:
        dict from split name to the list of characters.
    """
    if INFO.check_split(split) == "leap":
        return _alphabets_apart(characters(), seed)
    if split == "mixed":
        return _alphabets_mixed(characters(), seed)
    lists = read_split_lists(f"omniglot_{INFO.check_split(split)}")
    return {
        name: ["/".join(entry.split("/")[-2:]) for entry in members]
        for name, members in lists.items()
    }


def _alphabets_apart(names: list[str], seed: int) -> dict[str, list[str]]:
    """Whole alphabets in one split or another, as many characters of each (LEAP)."""
    # RandomState: its stream is frozen, so a seed means the same division for ever.
    random = np.random.RandomState(seed)
    alphabets: dict[str, list[str]] = {}
    for name in names:
        alphabets.setdefault(name.split("/")[0], []).append(name)
    large = sorted(each for each in alphabets if len(alphabets[each]) >= LEAP_CHARACTERS)
    order = [large[i] for i in random.permutation(len(large))]
    chosen = {
        each: [alphabets[each][i] for i in random.permutation(len(alphabets[each]))]
        for each in order
    }
    parts = {
        "train": order[:LEAP_TRAIN],
        "val": order[LEAP_TRAIN + LEAP_TEST :],
        "test": order[LEAP_TRAIN : LEAP_TRAIN + LEAP_TEST],
    }
    return {
        split: sorted(name for each in members for name in chosen[each][:LEAP_CHARACTERS])
        for split, members in parts.items()
    }


def _alphabets_mixed(names: list[str], seed: int) -> dict[str, list[str]]:
    """Characters of every alphabet in every split (MAML)."""
    order = [names[i] for i in np.random.RandomState(seed).permutation(len(names))]
    return {
        "train": sorted(order[:MIXED_TRAIN]),
        "val": sorted(order[MIXED_TRAIN : MIXED_TRAIN + MIXED_VAL]),
        "test": sorted(order[MIXED_TRAIN + MIXED_VAL :]),
    }


def characters() -> list[str]:
    """All 1,623 characters, `<alphabet>/<character>`, sorted."""
    return sorted(entry for part in split_lists().values() for entry in part)


def reader(source: Path | None, work_dir: Path) -> DatasetReader:
    """Reads a folder tree of alphabets, or TFDS's own `omniglot` without a source."""
    names = characters()
    classes = [
        StoredClass(f"{name}/rot{90 * turns}", name.split("/")[0], DRAWINGS)
        for name in names
        for turns in range(ROTATIONS)
    ]
    source_images = None
    if source is None:
        builder = stock_builder("omniglot", "github.com")
        drawings = _tfds_drawings(builder, names)
        origin = builder.info.full_name
    else:
        source_images = ImageSet(source, _drawing_files(source, names))
        drawings = _folder_drawings(source_images)
        origin = "folders"

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for index, image in drawings:
            for turns in range(ROTATIONS):
                yield index * ROTATIONS + turns, np.rot90(image, turns)

    metadata = {"source": origin, "rotations": ROTATIONS}
    return DatasetReader(classes, images, INFO.image_shape, metadata, source=source_images)


def _drawing_files(source: Path, names: list[str]) -> dict[str, list[Path]]:
    roots = [source / f"images_{part}" for part in ("background", "evaluation")]
    roots = [root for root in roots if root.is_dir()] or [source]
    folders = {
        f"{folder.parent.name}/{folder.name}": folder
        for root in roots
        for folder in root.glob("*/*")
        if folder.is_dir()
    }
    missing = [name for name in names if name not in folders]
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing):,} of the 1,623 characters of Omniglot, for example "
            f"{missing[0]}; expected {LAYOUT}."
        )
    files = {}
    for name in names:
        found = list_images(folders[name])
        if len(found) != DRAWINGS:
            raise ValueError(f"{folders[name]} has {len(found)} drawings, expected {DRAWINGS}.")
        files[name] = found
    return files


def _folder_drawings(source: ImageSet) -> Iterator[tuple[int, np.ndarray]]:
    for index, files in enumerate(source.files.values()):
        for file in files:
            yield index, source.read(file, INFO.image_shape)


def _tfds_drawings(builder, names: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    position = {name: i for i, name in enumerate(names)}
    alphabets = builder.info.features["alphabet"].names
    height, width, _ = INFO.image_shape
    for part in ("train", "test"):
        for example in read_tfds(builder, part):
            alphabet = alphabets[int(example["alphabet"])]
            character = f"character{int(example['alphabet_char_id']) + 1:02d}"
            drawing = Image.fromarray(example["image"]).convert("L")
            drawing = drawing.resize((width, height), resample=Image.Resampling.LANCZOS)
            yield position[f"{alphabet}/{character}"], np.asarray(drawing)[..., None]
