"""The command that turns a dataset into a class store.

`python -m data_pipelines.prepare --dataset=NAME [--source=PATH]`
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from data_pipelines.load_dataset import DATASETS, dataset_module, store_dir
from data_pipelines.preparation import Preparation

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: sequence of `str`, the command line with the program's name first. Default:
            `sys.argv`.

    Returns:
        The exit code: 0, 2 after a user's mistake, 130 when interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = list(sys.argv if arguments is None else arguments)
    options = _define_flags()
    try:
        rest = options(arguments)
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return 0
        if len(rest) > 1:
            raise ValueError(f"Unexpected argument {rest[1]!r}: options are written --name=value.")
        print(_prepare(options))
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written.", 130)
    except (ValueError, OSError, flags.Error) as error:
        if os.environ.get("KFSL_TRACEBACK"):
            traceback.print_exc()
        return _fail(_one_line(error), 2)


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
    flags.DEFINE_string("name", None, "image_folder: name for load_dataset.", **shared)
    flags.DEFINE_string("image_size", "84", "image_folder: HEIGHTxWIDTH or one number.", **shared)
    flags.DEFINE_integer("channels", 3, "image_folder: 3 for colour, 1 for grey.", **shared)
    flags.DEFINE_string(
        "split_file", None, "image_folder: JSON or CSV with the classes of each split.", **shared
    )
    flags.DEFINE_string(
        "split_ratio", None, "image_folder: shares of train,val,test; 0.64,0.16,0.2.", **shared
    )
    flags.DEFINE_integer("split_seed", 0, "image_folder: which classes go where.", **shared)
    return values


def _prepare(options: flags.FlagValues) -> str:
    if not options.dataset:
        raise ValueError(f"--dataset is missing; choose from {', '.join(DATASETS)}.")
    info = dataset_module(options.dataset).INFO
    module = dataset_module(info.store_name)
    folder_options = {}
    name = info.store_name
    if options.dataset == "image_folder":
        name = _folder_name(options)
        folder_options = module.parse_options(
            options.image_size,
            options.channels,
            options.split_file,
            options.split_ratio,
            options.split_seed,
        )
    elif given := [
        flag
        for flag in ("name", "split_file", "split_ratio", "image_size", "channels", "split_seed")
        if options[flag].present
    ]:
        raise ValueError(f"--{given[0]} is for --dataset=image_folder only.")
    preparation = Preparation(
        module=module,
        path=store_dir(options.data_dir) / name,
        source=_source(options, info.store_name),
        min_images_per_class=options.min_images_per_class,
        options=folder_options,
    )
    return preparation.run()


def _folder_name(options: flags.FlagValues) -> str:
    name = options.name or "image_folder"
    if name in DATASETS and name != "image_folder":
        raise ValueError(f"--name={name} is the name of a known dataset; choose another.")
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


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"The disk is full{where}; nothing was kept. Free some space or give --data_dir."
    if isinstance(error, PermissionError) and error.filename:
        return f"No permission for {error.filename}."
    return " ".join(str(error).split()) or type(error).__name__


def _fail(message: str, code: int) -> int:
    print(f"kfsl prepare: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
