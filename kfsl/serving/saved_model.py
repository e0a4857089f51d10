"""A SavedModel in its folder: whole and checked, or not there at all."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.runs.files import replaced_file, write_text
from kfsl.serving.files import EXAMPLE_FILE, MODEL_FILE, holds_saved_model


def check_place(path: str) -> None:
    """Refuses a folder that holds something else.

    Raises:
        ValueError: naming it.
    """
    if not holds_saved_model(os.path.abspath(path)):
        raise ValueError(
            f"{os.path.abspath(path)!r} holds something that kfsl did not export; name another "
            "folder, or empty it."
        )


def write_saved_model(
    path: str,
    owners: Sequence[Any],
    signatures: Mapping[str, Any],
    description: dict[str, Any],
    difference: Callable[[str], float],
    beside: Mapping[str, Mapping[str, Any] | bytes],
    script: str,
) -> dict[str, Any]:
    """Writes a graph and what lies beside it; an earlier export is replaced as a whole.

    Args:
        path: str. The folder.
        owners: sequence of what TensorFlow tracks: the variables that the graph reads, or what
            has them.
        signatures: mapping from names to concrete functions.
        description: dict. What `model.json` shall say.
        difference: function from a folder to how far the graph in it, loaded anew, is from the
            model; it raises a ValueError for more than rounding.
        beside: mapping from names of files to what they shall say: what JSON can hold, or bytes.
        script: str. Path of the file that becomes `example.py`.

    Returns:
        The description, with `difference_from_python`.

    Raises:
        ValueError: if the loaded graph differs from the model.
        OSError: if there is no space for it, or it cannot be written.
    """
    path = os.path.abspath(path)
    partial = os.path.join(
        os.path.dirname(path), f".{os.path.basename(path)}.writing-{os.getpid()}"
    )
    try:
        with _writing(path):
            module = tf.Module()
            module.weights = list(owners)
            tf.saved_model.save(module, partial, signatures=dict(signatures))
        description = {**description, "difference_from_python": difference(partial)}
        with _writing(path):
            for name, values in {MODEL_FILE: description, **beside}.items():
                _write(os.path.join(partial, name), values)
            shutil.copyfile(script, os.path.join(partial, EXAMPLE_FILE))
            _replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return description


def variables_of(model: keras.Model) -> list[Any]:
    """The plain TensorFlow variables of a model: itself, it would be saved for Keras alone."""
    return [variable.value for variable in model.variables]


def written_spec(tensor: Any) -> dict[str, Any]:
    """Dtype and shape of a tensor, as `model.json` has them."""
    shape = None if tensor.shape.rank is None else tensor.shape.as_list()
    return {"dtype": tensor.dtype.name, "shape": shape}


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """Tells of a full disk in one way, and where: TensorFlow and Python each have their own."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        number = errno.ENOSPC if full else getattr(error, "errno", None) or errno.EIO
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise OSError(
            number,
            f"The SavedModel could not be written ({reason}), and what was there is kept. Make "
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
    if os.path.isdir(path):
        # A folder cannot be replaced in one step while it has files.
        os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        if os.path.isdir(old):
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
