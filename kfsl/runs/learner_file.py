"""The file of a trained learner's weights: what is loaded from it is what is fingerprinted."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

#: In a learner's configuration, what changes no shape.
NO_SHAPES = ("name", "build_config", "registered_name", "module", "trainable", "dtype")
#: Arguments that a message names.
MOST_NAMED = 3


def load_weights(learner: Any, path: str) -> str:
    """Loads the weights of a `.keras` file, and says which they are.

    Args:
        learner: `keras.Model`, built.
        path: str. The file.

    Returns:
        SHA-256 (hex) of the file that was loaded.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or its weights do not fit the learner.
    """
    with whole_copy(path) as copy:
        fingerprint = file_fingerprint(copy)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # It becomes the error below.
                learner.load_weights(copy)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(_misfit(learner, copy, path, error)) from error
    return fingerprint


def file_fingerprint(path: str) -> str:
    """SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole_copy(path: str) -> Iterator[str]:
    """A private copy of a `.keras` file, found to be undamaged.

    A training may replace the file at any moment. So it is copied once, and the copy is what is
    fingerprinted and loaded.

    Args:
        path: str. The file.

    Yields:
        str. The copy, which is gone afterwards.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="kfsl-") as folder:
        copy = shutil.copyfile(path, os.path.join(folder, "learner.keras"))
        _check_whole(copy, path)
        yield copy


def _check_whole(copy: str, path: str) -> None:
    try:
        with zipfile.ZipFile(copy) as archive:
            broken = archive.testzip()
            archive.getinfo("config.json")
    except Exception as error:  # Whatever the bytes happen to lead to: zlib.error, EOFError, ...
        broken = " ".join(str(error).split())[:120]
    if broken:
        raise ValueError(
            f"{path} is damaged ({broken}). Put a sound copy in its place, or train again."
        )


def _misfit(learner: Any, copy: str, path: str, error: Exception) -> str:
    with zipfile.ZipFile(copy) as archive:
        saved = json.loads(archive.read("config.json"))
    own, theirs = type(learner).__name__, saved["class_name"]
    remedy = "Leave out the bindings that make the difference, or train a run with them."
    if own != theirs:
        return f"{path} holds the weights of {theirs}, and the configuration makes {own}. {remedy}"
    config = json.loads(json.dumps(learner.get_config(), default=str))
    found = list(_differences(saved["config"], config))[:MOST_NAMED]
    if not found:
        reason = " ".join(str(error).split())[:200]
        return f"{path} holds weights of other shapes than this {own}'s: {reason} {remedy}"
    there = ", ".join(f"{name}={old}" for name, old, _ in found)
    here = ", ".join(f"{name}={new}" for name, _, new in found)
    return f"{path} holds the weights of {own} with {there}; they do not fit {here}. {remedy}"


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The arguments in which two configurations differ: their names and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            if key in new and key not in NO_SHAPES:
                # An object in a configuration is a dict with the arguments one level deeper.
                inner = name if key in ("config", "class_name") else key
                yield from _differences(old[key], new[key], inner or key)
    elif old != new:
        yield name, old, new
