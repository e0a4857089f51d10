"""Several datasets in one store, of one shape: the modes of a multimodal distribution of tasks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.class_split import SPLITS
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.dataset_reader import DatasetReader
from data_pipelines.datasets.image_folder import parse_image_shape
from data_pipelines.datasets.mixture_part import OF_COLOURS, MixturePart

if TYPE_CHECKING:
    from data_pipelines.dataset import FewShotDataset

INFO = DatasetInfo(
    name="mixture",
    description="Several prepared datasets in one shape, each a mode.",
    superclass="those of the datasets",
    licence="those of the datasets",
    citation="",
    homepage="",
    image_shape=None,
    num_classes=None,
    num_images=None,
    split_names=(),
    from_stores=True,
)


def parse_options(
    parts: str | None, image_size: str | int = 84, channels: int = 3, data_dir: str | None = None
) -> dict[str, Any]:
    """Turns the command's flags into arguments of `reader`.

    Args:
        parts: str or None. With commas between them; see `MixturePart`.
        image_size: str or int. Pixels, or HEIGHTxWIDTH. Defaults to `84`.
        channels: int. 1 or 3. Defaults to `3`.
        data_dir: str or None. Where the parts' stores lie.

    Raises:
        ValueError: a flag has no valid value.
    """
    texts = [text for text in (parts or "").split(",") if text.strip()]
    if len(texts) < 2:
        raise ValueError(
            "A mixture has two parts or more: --parts=mini_imagenet,omniglot:inverted. Received "
            f"--parts={parts or ''}."
        )
    found = [MixturePart.parse(text) for text in texts]
    names = [part.text for part in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--parts names {twice!r} twice; each part is a mode of its own.")
    image_shape = parse_image_shape(image_size, channels)
    if image_shape[2] == 1:
        _check_grey(found)
    return {
        "parts": tuple(found),
        "image_shape": image_shape,
        "data_dir": data_dir,
    }


def _check_grey(parts: Sequence[MixturePart]) -> None:
    for part in parts:
        if chosen := [style for style in part.styles if style in OF_COLOURS]:
            raise ValueError(
                f"--parts={part.text}: {chosen[0]} images need 3 channels; received --channels=1. "
                "Leave out one of the two."
            )


def split_lists(store: ClassStore, split: str | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Lists of classes per split: those of the parts.

    Args:
        store: `ClassStore`. The prepared mixture.
        split: str or None. A mixture has one division.
        seed: int. Likewise.

    Returns:
        dict from split name to the list of classes.

    Raises:
        ValueError: for another division than its own.
    """
    if split is not None or seed:
        raise ValueError(
            f"The classes of the mixture {store.path} are divided as its parts were when it was "
            "prepared; received another split or split_seed. Prepare it with --parts=NAME@SPLIT."
        )
    return store.metadata["splits"]


def reader(
    source: Path | None,
    work_dir: Path,
    parts: Sequence[MixturePart] = (),
    image_shape: tuple[int, int, int] = (84, 84, 3),
    data_dir: str | None = None,
) -> DatasetReader:
    """Reads the stores of the parts.

    Args:
        source: `pathlib.Path` or None. Must be None: the parts are prepared already.
        work_dir: not needed.
        parts: sequence of `MixturePart`.
        image_shape: tuple `(H, W, C)` in pixels. Defaults to `(84, 84, 3)`.
        data_dir: str or None. Where the stores of the parts lie.

    Returns:
        `DatasetReader`, of the classes that the parts' common splits name. Of a split that some
        part lacks no class is read; the reader's notes tell.

    Raises:
        FileNotFoundError: if a part is not prepared.
        ValueError: if a source is named, or the parts share no split.
    """
    if source is not None:
        raise ValueError(
            "--source has no place with --dataset=mixture: its parts are prepared datasets."
        )
    opened = [(part, part.open(data_dir)) for part in parts]
    splits = [name for name in SPLITS if all(name in data.splits for _, data in opened)]
    if not splits:
        raise ValueError("The parts have no split in common, such as train.")
    members = [_Member(part, data, splits) for part, data in opened]
    classes = [entry for member in members for entry in member.classes]
    counts = [len(member.classes) for member in members]

    def pixels() -> Iterator[tuple[int, np.ndarray]]:
        first = 0
        for member in members:
            for place, image in member.images(image_shape):
                yield first + place, image
            first += len(member.classes)

    metadata = {
        "source": ", ".join(part.text for part in parts),
        "parts": {part.text: data.fingerprint for part, data in opened},
        "splits": {name: [c for member in members for c in member.splits[name]] for name in splits},
        "modes": [part.text for part in parts],
        "mode_rotations": [data.store.rotations for _, data in opened],
        "class_modes": np.repeat(np.arange(len(members)), counts).tolist(),
        "licence": "; ".join(dict.fromkeys(_told(data, "licence") for _, data in opened)),
        "citation": "; ".join(dict.fromkeys(_told(data, "citation") for _, data in opened)),
    }
    notes = [note for name in SPLITS if (note := _left_out(name, opened))]
    notes += _shared_between_splits(opened, splits)
    return DatasetReader(classes, pixels, image_shape, metadata, notes=notes)


def _left_out(split: str, opened: Sequence[tuple[MixturePart, FewShotDataset]]) -> str:
    """What the user should know of a split that some parts have and others lack."""
    lacking = [part.text for part, data in opened if split not in data.splits]
    if len(lacking) in (0, len(opened)):
        return ""
    have = "has" if len(lacking) == 1 else "have"
    remedy = " To keep train classes for it, set load_dataset.held_out." if split == "val" else ""
    return (
        f"Split {split} is left out, with its classes: {' and '.join(lacking)} {have} none.{remedy}"
    )


def _shared_between_splits(
    opened: Sequence[tuple[MixturePart, FewShotDataset]], splits: Sequence[str]
) -> list[str]:
    """What the user should know of one store's classes that parts divide otherwise."""
    notes = []
    for (one, first), (other, second) in itertools.combinations(opened, 2):
        if first.store.fingerprint != second.store.fingerprint:
            continue
        for split, others in itertools.permutations(splits, 2):
            shared = np.intersect1d(first.splits[split], second.splits[others])
            if shared.size:
                notes.append(
                    f"Warning: {one.text} and {other.text} have the same images, and "
                    f"{shared.size:,} classes, such as {first.store.class_names[shared[0]]!r}, "
                    f"are in {split} of the one and in {others} of the other, so what is learnt "
                    "is tested on. Divide both alike: --parts=NAME@SPLIT."
                )
    return notes


class _Member:
    """A part's classes under the mixture's names, rotations of a class side by side."""

    def __init__(self, part: MixturePart, data: FewShotDataset, splits: Sequence[str]) -> None:
        self._part = part
        self._store = store = data.store
        used = np.concatenate([data.splits[name] for name in splits])
        self._indices = np.sort(used).tolist()
        names = {i: f"{part.text}/{store.class_names[i]}" for i in self._indices}
        self.splits = {name: [names[i] for i in data.splits[name].tolist()] for name in splits}
        superclasses = store.class_superclasses
        self.classes = [
            StoredClass(
                names[i],
                f"{part.text}/{store.superclass_names[superclasses[i]]}",
                int(store.counts[i]),
            )
            for i in self._indices
        ]

    def images(self, shape: tuple[int, int, int]) -> Iterator[tuple[int, np.ndarray]]:
        for place, index in enumerate(self._indices):
            first = int(self._store.offsets[index])
            for number, image in enumerate(self._store.class_images(index), first):
                yield place, self._part.image(image, shape, number)


def _told(data: FewShotDataset, name: str) -> str:
    return f"{data.name}: {data.store.metadata.get(name) or 'not known'}"
