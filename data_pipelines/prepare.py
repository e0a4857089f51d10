"""The command that turns a dataset into a class store.

`python -m data_pipelines.prepare --dataset=NAME [--source=PATH]`
"""

import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from data_pipelines.datasets.beam_runner import BeamRunner
from data_pipelines.function_dataset import FUNCTIONS
from data_pipelines.load_dataset import DATASETS, NAMED, dataset_module, store_dir
from data_pipelines.preparation import Preparation
from kfsl.command_line import command

FOLDER = ("image_folder",)
#: Their TFRecords are written here, by Apache Beam if asked.
WRITTEN = ("glyphs", "mini_imagenet")
#: Flags that only some datasets have.
OWN_FLAGS = {
    "name": NAMED,
    "split_file": FOLDER,
    "split_ratio": FOLDER,
    "image_size": NAMED,
    "channels": NAMED,
    "split_seed": FOLDER,
    "parts": ("mixture",),
    "beam_runner": WRITTEN,
    "beam_options": WRITTEN,
}


def main() -> None:
    """The console script."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _define_flags()
    with command.mistakes_in_one_line("interrupted; nothing was written."):
        rest = command.parse_flags(sys.argv, options)
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return
        command.refuse_positional(rest)
        print(_prepare(options))


def _define_flags() -> flags.FlagValues:
    # Flags of its own, so that importing this module adds none to other commands.
    values = flags.FlagValues()
    shared: dict[str, Any] = {"flag_values": values}
    flags.DEFINE_boolean("help", False, "Show this help.", short_name="h", **shared)
    flags.DEFINE_string("dataset", None, f"One of {', '.join(DATASETS)}.", **shared)
    flags.DEFINE_string(
        "source", None, "Folder with the images. Default: $KFSL_DATA_DIR/<dataset>.", **shared
    )
    flags.DEFINE_string(
        "data_dir", None, "Where stores lie. Default: $KFSL_STORE_DIR or ~/.cache/kfsl.", **shared
    )
    flags.DEFINE_integer(
        "min_images_per_class", 1, "Fail if a class has fewer: shots + queries.", **shared
    )
    flags.DEFINE_string("name", None, "image_folder, mixture: name for load_dataset.", **shared)
    flags.DEFINE_string(
        "image_size", "84", "image_folder, mixture: HEIGHTxWIDTH or one number.", **shared
    )
    flags.DEFINE_integer(
        "channels", 3, "image_folder, mixture: 3 for colour, 1 for grey.", **shared
    )
    flags.DEFINE_string(
        "parts", None, "mixture: prepared datasets, as mini_imagenet,omniglot:inverted.", **shared
    )
    flags.DEFINE_string(
        "split_file", None, "image_folder: JSON or CSV with the classes of each split.", **shared
    )
    flags.DEFINE_string(
        "split_ratio", None, "image_folder: shares of train,val,test; 0.64,0.16,0.2.", **shared
    )
    flags.DEFINE_string(
        "beam_runner",
        None,
        f"{', '.join(WRITTEN)}: direct, or another runner of Apache Beam that writes them.",
        **shared,
    )
    flags.DEFINE_string(
        "beam_options", None, "Beam's own options, as '--direct_num_workers=2'.", **shared
    )
    flags.DEFINE_integer("split_seed", 0, "image_folder: which classes go where.", **shared)
    return values


def _prepare(options: flags.FlagValues) -> str:
    if not options.dataset:
        raise ValueError(f"--dataset is missing; choose from {', '.join(DATASETS)}.")
    info = dataset_module(options.dataset).INFO
    module = dataset_module(info.store_name)
    reader_options = {}
    name = info.store_name
    _check_flags(options)
    if options.dataset in NAMED:
        name = _own_name(options)
    if options.dataset == "image_folder":
        reader_options = module.parse_options(
            options.image_size,
            options.channels,
            options.split_file,
            options.split_ratio,
            options.split_seed,
        )
    elif options.dataset == "mixture":
        reader_options = module.parse_options(
            options.parts, options.image_size, options.channels, options.data_dir
        )
    elif options.beam_runner:
        reader_options = {"beam": BeamRunner.parse(options.beam_runner, options.beam_options)}
    elif info.from_stores:
        reader_options = {"data_dir": options.data_dir}
    preparation = Preparation(
        module=module,
        path=store_dir(options.data_dir) / name,
        source=_source(options, info.store_name),
        min_images_per_class=options.min_images_per_class,
        options=reader_options,
    )
    return preparation.run()


def _check_flags(options: flags.FlagValues) -> None:
    """Refuses flags that are for other datasets."""
    if options.beam_options and not options.beam_runner:
        raise ValueError("--beam_options is for --beam_runner; give both.")
    for flag, datasets in OWN_FLAGS.items():
        if options[flag].present and options.dataset not in datasets:
            raise ValueError(f"--{flag} is for --dataset={' and '.join(datasets)} only.")


def _own_name(options: flags.FlagValues) -> str:
    name = options.name or options.dataset
    if name in DATASETS and name != options.dataset:
        raise ValueError(f"--name={name} is the name of a known dataset; choose another.")
    if name in FUNCTIONS:
        raise ValueError(f"--name={name} is the name of drawn functions; choose another.")
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"--name={name!r} must be a plain folder name.")
    return name


def _source(options: flags.FlagValues, store_name: str) -> Path | None:
    if options.source:
        source = Path(options.source).expanduser()
        if not source.exists():
            raise FileNotFoundError(f"--source={options.source} does not exist.")
        if not source.is_dir():
            raise NotADirectoryError(
                f"--source={options.source} is not a folder; unpack the archive and give the "
                "folder."
            )
        return source
    root = os.environ.get("KFSL_DATA_DIR")
    if root and (Path(root) / store_name).is_dir():
        return Path(root) / store_name
    return None


if __name__ == "__main__":
    main()
