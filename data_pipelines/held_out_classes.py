"""Train classes that are kept for validation, where a dataset's lists have none for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.class_store import ClassStore
from data_pipelines.mode_classes import ModeClasses, check_whole_classes, classes_by_mode


def hold_out(
    name: str, store: ClassStore, splits: Mapping[str, np.ndarray], held_out: int, seed: int
) -> dict[str, np.ndarray]:
    """Moves classes from `train` to a new split `val`.

    A class moves with all its rotations, and counts as one. Of a mixture each mode gives a share
    in proportion to its train classes, at least one class, and keeps at least one; a mode that
    has a single one keeps it. Where modes are one dataset in several styles, a class moves in all
    of them.

    Args:
        name: str. The dataset's, for messages.
        store: `ClassStore`. The dataset's.
        splits: mapping from split to class indices of the store.
        held_out: int. Classes that move; 0: none.
        seed: int. Which ones.

    Returns:
        dict from split to class indices.

    Raises:
        ValueError: if there are validation classes already, or no train classes, or not as many
            as are asked for.
    """
    if not held_out:
        return dict(splits)
    if "val" in splits:
        there = sum(len(each.groups) for each in _by_mode(name, store, splits, "val"))
        raise ValueError(
            f"held_out={held_out}, but these lists of {name} have {there} validation classes "
            "already; use held_out=0."
        )
    if "train" not in splits:
        raise ValueError(
            f"held_out={held_out} keeps train classes for validation, and {name} has no split "
            f"'train', only {', '.join(splits)}; use held_out=0."
        )
    train = _by_mode(name, store, splits, "train")
    shares = _shares(name, train, held_out)
    names = [name for classes in train for name in _names(store, classes)]
    by_name = np.array(sorted(range(len(names)), key=names.__getitem__))
    # RandomState: its stream is frozen, so the held-out classes never change with NumPy.
    order = by_name[np.random.RandomState(seed).permutation(len(names))]
    kept, moved, first, places = [], [], 0, {}
    for classes, share in zip(train, shares, strict=True):
        last = first + len(classes.groups)
        drawn = order[(order >= first) & (order < last)] - first
        # The first of several styles decides for all.
        drawn, same = places.setdefault(_part(store, classes), (drawn, share))
        if share != same:
            raise ValueError(
                f"held_out={held_out}: modes of {name} have the same images in several styles, "
                f"and each is to give as many classes; received {same} and {share}. Choose a "
                "number that is shared out evenly."
            )
        moved.append(classes.groups[drawn[:share]].reshape(-1))
        kept.append(classes.groups[drawn[share:]].reshape(-1))
        first = last
    return {
        "train": np.sort(np.concatenate(kept)),
        "val": np.sort(np.concatenate(moved)),
        **{split: indices for split, indices in splits.items() if split != "train"},
    }


def _by_mode(
    name: str, store: ClassStore, splits: Mapping[str, np.ndarray], split: str
) -> list[ModeClasses]:
    indices = np.sort(splits[split])
    check_whole_classes(name, split, store, indices)
    return classes_by_mode(store, indices)


def _part(store: ClassStore, classes: ModeClasses) -> str | None:
    """What is the same of modes that have the same classes of the same images."""
    return store.metadata.get("parts", {}).get(classes.mode, classes.mode)


def _names(store: ClassStore, classes: ModeClasses) -> list[str]:
    """The names of classes, each once and without its rotation."""
    names = list(store.class_names[classes.groups[:, 0]])
    return [name.rpartition("/rot")[0] for name in names] if classes.rotations > 1 else names


def _shares(name: str, train: Sequence[ModeClasses], held_out: int) -> list[int]:
    """How many classes each mode gives."""
    sizes = np.array([len(classes.groups) for classes in train])
    least, most = np.minimum(1, sizes - 1), sizes - 1
    if not least.sum() <= held_out <= most.sum():
        raise ValueError(
            f"held_out={held_out}, expected {_range(int(least.sum()), int(most.sum()))}: {name} "
            f"has {_told(train, sizes.tolist())}."
        )
    # What a mode has too little (or too much) by, in parts of a class: whole numbers, so that
    # no rounding decides which classes are held out.
    shares = np.clip(sizes * held_out // sizes.sum(), least, most)
    while missing := held_out - int(shares.sum()):
        lacks = sizes * held_out - shares * sizes.sum()
        if missing > 0:
            shares[np.argmax(np.where(shares < most, lacks, -np.inf))] += 1
        else:
            shares[np.argmin(np.where(shares > least, lacks, np.inf))] -= 1
    return shares.tolist()


def _range(least: int, most: int) -> str:
    return f"0 to {most}" if least < 2 else f"0 or {least} to {most}"


def _told(train: Sequence[ModeClasses], sizes: Sequence[int]) -> str:
    if len(train) == 1:
        return f"{sizes[0]} train classes"
    first, *others = (
        f"{size}{' train classes' if not number else ''} of {classes.mode}"
        for number, (classes, size) in enumerate(zip(train, sizes, strict=True))
    )
    return (
        f"{', '.join([first, *others])}, and of each mode one class at least is held out, and one "
        "stays"
    )
