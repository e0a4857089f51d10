"""An exported model in its folder: whole and checked, or not there at all."""

import contextlib
import errno
import glob
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import replaced_file, write_text
from kfsl.serving.files import CARD_FILE, CLASSES_FILE, EXAMPLE_FILE, MODEL_FILE
from kfsl.serving.model_card import model_card


def write_folder(
    path: str,
    fill: Callable[[str], dict[str, Any]],
    beside: Mapping[str, Mapping[str, Any] | bytes],
    script: str,
    evaluations: Sequence[Evaluation] = (),
) -> dict[str, Any]:
    """Writes a model and what lies beside it; an earlier export is replaced as a whole.

    Args:
        path: str. The folder.
        fill: function from a new folder to what `model.json` shall say; it writes the graph there
            and raises a ValueError if that is wrong.
        beside: mapping from names of files to what they shall say: what JSON can hold, or bytes.
        script: str. Path of the file that becomes `example.py`.
        evaluations: sequence of `Evaluation`. What the model card says was measured.

    Returns:
        The description.

    Raises:
        OSError: if there is no space for it, or it cannot be written.
    """
    path = os.path.realpath(path)  # What a link names is replaced, and not the link.
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    beginning = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.writing-{host}-")
    partial = f"{beginning}{os.getpid()}"
    _clear_left(beginning, path)
    try:
        with writing(path):
            os.makedirs(partial)
        description = fill(partial)
        with writing(path):
            for name, values in {MODEL_FILE: description, **beside}.items():
                _write(os.path.join(partial, name), values)
            card = model_card(description, beside.get(CLASSES_FILE, {}), evaluations)
            write_text(os.path.join(partial, CARD_FILE), card)
            shutil.copyfile(script, os.path.join(partial, EXAMPLE_FILE))
            _replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return description


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Tells of a full disk in one way, and where: TensorFlow and Python each have their own.

    Args:
        path: str. The folder that the message names.

    Raises:
        OSError: for what TensorFlow or Python raised.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        number = errno.ENOSPC if full else getattr(error, "errno", None) or errno.EIO
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise OSError(
            number,
            f"The model could not be written ({reason}), and what was there is kept. Make "
            "space, or name another folder than",
            path,
        ) from error


def _write(file: str, values: Mapping[str, Any] | bytes) -> None:
    if isinstance(values, bytes):
        with replaced_file(file) as opened:
            opened.write(values)
        return
    text = json.dumps(values, indent=1, ensure_ascii=False, default=_plain)
    write_text(file, text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON.")


def _replace(new: str, path: str) -> None:
    """Puts a complete folder in the place of an earlier one."""
    old = f"{new}.old"
    for again in (True, False):
        if os.path.isdir(path):
            # A folder cannot be replaced in one step while it has files.
            os.replace(path, old)
        try:
            os.replace(new, path)
            break
        except OSError:
            if os.path.isdir(old):
                os.replace(old, path)
            elif again and os.path.isdir(path):
                continue  # Another process has put its own there meanwhile.
            raise
    shutil.rmtree(old, ignore_errors=True)


def _clear_left(beginning: str, path: str) -> None:
    """Clears what killed processes of this host left: a part of a model, or an earlier export."""
    for left in sorted(glob.glob(f"{glob.escape(beginning)}*")):
        process = left.removeprefix(beginning).removesuffix(".old")
        # With the number of this process it can only have been an earlier one.
        if not process.isdigit() or (int(process) != os.getpid() and _is_alive(int(process))):
            continue
        if left.endswith(".old") and not os.path.exists(path):
            os.replace(left, path)  # It was killed between taking this away and its own.
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # It is another user's.
        return True
    return True
