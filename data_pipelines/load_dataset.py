"""Datasets by name: `load_dataset`."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from data_pipelines.class_store import ClassStore
from data_pipelines.dataset import FewShotDataset
from data_pipelines.function_dataset import FUNCTIONS, FunctionDataset
from data_pipelines.held_out_classes import hold_out
from data_pipelines.stored_names import StoredNames
from kfsl.argument_checks import check_whole

#: What NumPy's `RandomState` takes.
LARGEST_SEED = 2**32 - 1

DATASETS = (
    "glyphs",
    "glyph_modes",
    "omniglot",
    "mini_imagenet",
    "cifar100",
    "fc100",
    "cifar_fs",
    "meta_cifar100",
    "cub",
    "aircraft",
    "celeb_a",
    "image_folder",
    "mixture",
)

#: Prepared under a name of the user's own.
NAMED = ("image_folder", "mixture")


def load_dataset(
    name: str,
    split: str | None = None,
    data_dir: str | os.PathLike | None = None,
    held_out: int = 0,
    held_out_seed: int = 0,
    split_seed: int = 0,
    held_out_images: int = 0,
) -> FewShotDataset | FunctionDataset:
    """Opens a prepared dataset.

    Args:
        name: str. One of `DATASETS`, or the `--name` under which your own image folder or mixture
            was prepared; or `"sinusoids"`, which needs no preparation.
        split: str or None. Which lists of classes: for `omniglot` `"vinyals"` (1028/172/423,
            default), `"santoro"` (1200/423), `"crossmod"` (1000/200/423), `"leap"` (20
            characters of each of 25/11/10 alphabets) or `"mixed"` (1100/100/423, of all
            alphabets); for `meta_cifar100` `"easy"` (default),
            `"moderate"` or `"hard"`; for `cub` `"meta_dataset"` (140/30/30, default),
            `"torchmeta"` (100/50/50) or `"mmaml"` (140/30/30); for `aircraft` (70/15/15)
            `"meta_dataset"` (default) or `"mmaml"`; for an image folder a JSON or CSV file that
            replaces the lists made when it was prepared. The other datasets have one.
        data_dir: str, path or None. Folder of the class stores; None: the environment variable
            `KFSL_STORE_DIR`, else `~/.cache/kfsl`.
        held_out: int. Train classes that become the split `val` where the lists have none. All
            rotations of a character count as one and move together. Of a mixture each mode gives
            a share in proportion to its train classes, at least one. Defaults to `0`.
        held_out_seed: int. Which classes those are. Defaults to `0`.
        split_seed: int. Draws other lists where a rule makes them (`meta_cifar100`, where
            0 gives the lists that lie beside the code, Omniglot's `"leap"` and `"mixed"`, and an
            image folder that was divided by a ratio).
            Defaults to `0`.
        held_out_images: int. Images at the end of each train class that training does not see;
            they become the split `base_test`. Defaults to `0`.

    Returns:
        A `FewShotDataset`, of which nothing but the names is read from disk; of `"sinusoids"` a
        `FunctionDataset`.

    Raises:
        FileNotFoundError: the dataset is not prepared; the message names the command.
        ValueError: the name, split or number of held-out classes does not exist, or a seed has no
            effect.

    Example:
    ```python
    import tempfile
    from data_pipelines.load_dataset import load_dataset

    with tempfile.TemporaryDirectory() as folder:
        try:
            load_dataset("glyphs", data_dir=folder)
        except FileNotFoundError as error:
            assert "data_pipelines.prepare --dataset=glyphs" in str(error)
    ```
    """
    numbers = {
        "held_out": held_out,
        "held_out_seed": held_out_seed,
        "split_seed": split_seed,
        "held_out_images": held_out_images,
    }
    for argument, value in numbers.items():
        most = LARGEST_SEED if argument.endswith("seed") else None
        check_whole(f"load_dataset.{argument}", value, 0, most)
    if name in FUNCTIONS:
        _check_functions(name, {"split": split, **numbers})
        return FunctionDataset(name)
    if held_out_seed and not held_out:
        raise ValueError(
            f"load_dataset.held_out_seed = {held_out_seed} has no effect: no classes are held out. "
            "Leave it out, or bind load_dataset.held_out."
        )
    folder = store_dir(data_dir)
    if name in DATASETS and name not in NAMED:
        module = dataset_module(name)
        store_name = module.INFO.store_name
        command = f"python -m data_pipelines.prepare --dataset={store_name}"
    else:
        module, store_name = None, name
        kind, rest = "image_folder", "--source=PATH"
        if name == "mixture":
            kind, rest = "mixture", "--parts=NAME,NAME"
        command = f"python -m data_pipelines.prepare --dataset={kind} --name={name} {rest}"
    store = _open_store(name, folder / store_name, command, data_dir)
    # What was prepared under a name of the user's own says itself what it is.
    module = module or dataset_module(store.metadata.get("dataset", "image_folder"))
    if split_seed and module.INFO.split_names:
        module.INFO.check_seed(split, split_seed)
    lists = module.split_lists(store, split, split_seed)
    splits = hold_out(name, store, _indices(name, store, lists), held_out, held_out_seed)
    return FewShotDataset(name, store, splits, held_out_images)


def store_dir(data_dir: str | os.PathLike | None = None) -> Path:
    """The folder of the class stores: the argument, else `KFSL_STORE_DIR`, else the cache."""
    chosen = data_dir or os.environ.get("KFSL_STORE_DIR") or "~/.cache/kfsl"
    return Path(chosen).expanduser()


def dataset_module(name: str) -> ModuleType:
    """The module that describes and reads a dataset, imported when it is asked for."""
    if name not in DATASETS:
        raise ValueError(f"Unknown dataset {name!r}; known are {', '.join(DATASETS)}.")
    return import_module(f"data_pipelines.datasets.{name}")


def _open_store(
    name: str, path: Path, command: str, data_dir: str | os.PathLike | None
) -> ClassStore:
    if path.is_dir():
        return ClassStore.open(path)
    known = (
        f" Datasets with a reader: {', '.join(DATASETS)}; without preparation: "
        f"{', '.join(FUNCTIONS)}."
    )
    known = "" if name in DATASETS else known
    option = f" --data_dir={data_dir}" if data_dir else ""
    raise FileNotFoundError(
        f"Dataset {name!r} is not prepared in {path.parent}. Run: {command}{option}.{known}"
    )


def _check_functions(name: str, given: Mapping[str, Any]) -> None:
    """Refuses what has a meaning for images alone."""
    for argument, value in given.items():
        if value:
            raise ValueError(
                f"{argument}={value!r} has no meaning for {name}, which has no classes. Leave it "
                "out."
            )


def _indices(
    name: str, store: ClassStore, lists: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    if all(isinstance(classes, StoredNames) for classes in lists.values()):
        # The store's own lists, whose names know where they stand.
        return {split: classes.rows for split, classes in lists.items()}
    rotations = store.rotations
    # With rotations the names are `<class>/rot0`, `<class>/rot90` and so on.
    names = [
        stored.rpartition("/rot")[0] if rotations > 1 else stored
        for stored in store.class_names[::rotations]
    ]
    position = {base: i for i, base in enumerate(names)}
    splits = {}
    for split, classes in lists.items():
        missing = [c for c in classes if c not in position]
        if missing:
            raise ValueError(
                f"Split {split!r} of {name} lists {len(missing)} classes that the store "
                f"{store.path} does not hold, for example {missing[0]!r}."
            )
        first = np.array([position[c] * rotations for c in classes], np.int64)
        splits[split] = (first[:, None] + np.arange(rotations)).reshape(-1)
    return splits
