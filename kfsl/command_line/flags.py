"""The flags that commands share."""

from absl import flags

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file; may be repeated, the later one wins."
)


GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "A binding such as train.epochs=3; may be repeated, wins over the files."
)


RUN_DIR = flags.DEFINE_string("run_dir", None, "The folder of the run.")


def require(flag: flags.FlagHolder, why: str) -> str:
    """The value of a flag that must be given.

    Raises:
        ValueError: if it is not.
    """
    if not flag.value:
        raise ValueError(f"--{flag.name} is missing: {why}.")
    return flag.value


def refuse(flag: flags.FlagHolder | flags.Flag, why: str) -> None:
    """Refuses a flag that a command shares and does not use, or not with what else is asked.

    Raises:
        ValueError: if it is given.
    """
    if flag.present:
        raise ValueError(f"--{flag.name} has no place here: {why}.")
