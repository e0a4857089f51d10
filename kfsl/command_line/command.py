"""What the commands share: their flags, and errors told in one line."""

import contextlib
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import app, flags, logging

#: What a user's input can raise. Anything else is a defect of kfsl and keeps its traceback.
USER_ERRORS = (ValueError, OSError, RuntimeError)

#: What a binding of a wrong type raises inside the function that it was bound to.
BINDING_ERRORS = (TypeError, ZeroDivisionError)
#: Errors of TensorFlow, by name, that are no defects: full disks and memories, files that are cut.
TENSORFLOW_ERRORS = ("ResourceExhaustedError", "PermissionDeniedError", "DataLossError")
GIN_NOTE = "\n  In call to configurable '"


#: What a shell makes of SIGINT, and of SIGPIPE.
INTERRUPTED, UNREAD = 130, 141
#: What Ctrl-C is told by a command that keeps what it has done so far.
RESUMES = "interrupted; the same command continues where the last checkpoint is."

#: The first of what `tf.debugging.assert_...` prints is the message that it was given.
_ASSERTION = re.compile(r"assertion failed: \[(.+?)\](?: \[|$)", re.DOTALL)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(main: Callable[[], None], interrupted: str = "interrupted.") -> None:
    """Parses the flags and runs a command.

    A user's mistake ends it with one line on standard error and exit code 2; set
    `KFSL_TRACEBACK=1` to see where it was raised.

    Args:
        main: callable without arguments.
        interrupted: str. What Ctrl-C is told.
    """
    # Messages of TensorFlow's libraries would bury the one line that matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.WARNING)
    # --help prints the main module's docstring, which a console script does not have.
    sys.modules["__main__"].__doc__ = sys.modules[main.__module__].__doc__
    _list_flags()
    # Modules that gin files import lie in the current folder, which a console script cannot see.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())

    def guarded(arguments: list[str]) -> None:
        with mistakes_in_one_line(interrupted):
            refuse_positional(arguments)
            main()

    app.run(guarded, flags_parser=parse_flags)


@contextlib.contextmanager
def mistakes_in_one_line(interrupted: str) -> Iterator[None]:
    """Ends the process with one line and exit code 2 where the user made a mistake.

    An interruption ends it with exit code 130. Where nobody reads its output any more, as after
    `| head`, it ends with 141, and silently unless there is something to go on with.

    Args:
        interrupted: str. What Ctrl-C is told.
    """
    _print_any_name()
    try:
        yield
        sys.stdout.flush()  # Left to the interpreter's end, a closed pipe would be told of there.
    except BrokenPipeError:
        _end_unread(interrupted)
    except USER_ERRORS as error:
        if os.environ.get("KFSL_TRACEBACK"):
            traceback.print_exc()
        fail(one_line(error))
    except BINDING_ERRORS as error:
        if GIN_NOTE not in str(error) or os.environ.get("KFSL_TRACEBACK"):
            raise
        name = str(error).split(GIN_NOTE)[1].split("'")[0]
        fail(f"{one_line(error)}. Is a binding of {name} of a wrong type?")
    except KeyboardInterrupt:
        fail(interrupted, INTERRUPTED)
    except Exception as error:
        if (words := _asserted(error)) and not os.environ.get("KFSL_TRACEBACK"):
            fail(words)
        if not _is_of_tensorflow(error) or os.environ.get("KFSL_TRACEBACK"):
            raise
        fail(f"TensorFlow has no more memory or disk, or cannot read a file: {_start(error)}")


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Holds back what TensorFlow's libraries print while they are imported.

    It comes from C++ before any setting is read. If the import fails it is shown after all.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def fail(message: str, code: int = 2) -> NoReturn:
    """Ends the process with one line on standard error and an exit code."""
    path = sys.argv[0].removesuffix(f"{os.sep}__main__.py")
    command = os.path.basename(path).removesuffix(".py").removeprefix("kfsl-")
    print(f"kfsl {command}: {message}", file=sys.stderr)
    sys.exit(code)


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks and without gin's call stack."""
    if isinstance(error, PermissionError) and error.filename:
        return f"No permission for {error.filename}."
    text = _ANSI.sub("", str(error).split(GIN_NOTE)[0]).split("Arguments received by")[0]
    return " ".join(text.split()) or type(error).__name__


def _end_unread(interrupted: str) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if interrupted == RESUMES:
        fail(f"nobody reads what it prints any more: {interrupted}", UNREAD)
    sys.exit(UNREAD)


def _is_of_tensorflow(error: Exception) -> bool:
    kind = type(error)
    return kind.__name__ in TENSORFLOW_ERRORS and kind.__module__.startswith("tensorflow.")


def _asserted(error: Exception) -> str:
    """What a check of kfsl's inside a graph says of the user's data; empty of other errors."""
    if type(error).__name__ != "InvalidArgumentError":
        return ""
    match = _ASSERTION.search(str(error))
    return " ".join(match[1].replace("\\'", "'").split()) if match else ""


def _start(error: Exception) -> str:
    """The beginning of a message: TensorFlow's tell of every node they passed."""
    return one_line(error)[:300]


def _list_flags() -> None:
    """Makes `--help` list what a command takes: absl lists the flags of the script's own file."""
    for module, known in flags.FLAGS.flags_by_module_dict().items():
        if module == sys.argv[0] or module.startswith(("kfsl.", "data_pipelines.")):
            for flag in known:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def parse_flags(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """What is left of a command line when its flags are taken out.

    Args:
        arguments: list of str. The program's name and what follows it.
        values: `flags.FlagValues`. Defaults to the flags that all modules share.

    Returns:
        list of str, the program's name first.
    """
    try:
        return values(arguments)
    except flags.Error as error:
        fail(f"{one_line(error)} See --help.")


def refuse_positional(arguments: list[str]) -> None:
    """Refuses what is no option.

    Raises:
        ValueError: naming it.
    """
    if len(arguments) > 1:
        raise ValueError(
            f"Unexpected argument {arguments[1]!r}: options are written --name=value; see --help."
        )


def _print_any_name() -> None:
    """A terminal that lacks a file name's letters shows their numbers, and nothing fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
