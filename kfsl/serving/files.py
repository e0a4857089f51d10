"""What lies beside the graph in a SavedModel of kfsl; read without TensorFlow."""

import os
from collections.abc import Mapping
from typing import Any

from kfsl.runs.files import read_json

#: Limits and facts of the model, the classes it was trained on, and a script that uses it.
MODEL_FILE = "model.json"
CLASSES_FILE = "classes.json"
EXAMPLE_FILE = "example.py"
CARD_FILE = "README.md"
GRAPH_FILE = "saved_model.pb"

FORMAT_VERSION = 1
#: Gradient steps that a request may ask for: memory is taken for the loss of each.
MOST_STEPS = 10_000
#: What `model.json` has in every release, and its readers rely on.
NEEDED = ("format_version", "learner", "transductive", "image", "ways")


def read_description(path: str) -> dict[str, Any]:
    """The `model.json` of an exported model.

    Args:
        path: str. The folder of the SavedModel.

    Returns:
        dict; see `docs/serving.md`.

    Raises:
        FileNotFoundError: if the folder or its graph is missing.
        ValueError: if it is a SavedModel that kfsl did not export, or one of another format.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f"No SavedModel in {path!r}: there is no such folder.")
    if not os.path.isfile(os.path.join(path, GRAPH_FILE)):
        raise FileNotFoundError(
            f"No SavedModel in {path!r}: it has no {GRAPH_FILE}. Name the folder that "
            "python -m kfsl.export wrote."
        )
    description = os.path.join(path, MODEL_FILE)
    if not os.path.isfile(description):
        raise ValueError(
            f"{path!r} is a SavedModel without {MODEL_FILE}, so its limits are unknown. Name one "
            "that python -m kfsl.export wrote."
        )
    values = read_json(description, "export again")
    missing = [key for key in NEEDED if key not in values]
    if missing:
        raise ValueError(f"{description!r} is damaged (it has no {missing[0]!r}); export again.")
    version = values["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{description!r} has format version {version}; this release reads version "
            f"{FORMAT_VERSION}. Export again."
        )
    return values


def read_training_data(path: str) -> dict[str, Any]:
    """The `classes.json` of an exported model.

    Args:
        path: str. The folder of the SavedModel.

    Returns:
        dict, empty where there is none.

    Raises:
        ValueError: if it is damaged.
    """
    file = os.path.join(path, CLASSES_FILE)
    return read_json(file, "export again") if os.path.isfile(file) else {}


def calibration_of(description: Mapping[str, Any], steps: int | None) -> dict[str, Any] | None:
    """What was fitted on validation episodes for a model that takes so many steps.

    Args:
        description: mapping, from `model.json`.
        steps: int or None. As `chosen_steps` gives them.

    Returns:
        dict, `calibration` in `model.json`; None if nothing was fitted, or for other steps.
    """
    default = (description.get("steps") or {"default": None})["default"]
    return description.get("calibration") if steps in (None, default) else None


def check_steps(name: str, steps: int | None) -> None:
    """Refuses a number of gradient steps that no model can be asked for; None is no number.

    Args:
        name: str. What it is called where it was given.
        steps: int or None.

    Raises:
        ValueError: naming the limits and what was received.
    """
    if steps is not None and not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"{name} must be 0 to {MOST_STEPS:,} gradient steps; received {steps}.")


def chosen_steps(description: Mapping[str, Any], steps: int | None) -> int | None:
    """The number of gradient steps to ask a model for; None where it cannot be asked.

    Args:
        description: mapping, from `model.json`.
        steps: int, or None for the model's own number.

    Returns:
        int or None.

    Raises:
        ValueError: for a number that none can be asked for, or a model whose steps are not free.
    """
    taken = description.get("steps") or {"default": None, "free": False}
    if steps is not None and not taken["free"]:
        reason = (
            "takes no gradient steps"
            if taken["default"] is None
            else f"always takes {taken['default']} gradient steps"
        )
        raise ValueError(
            f"steps={steps} has no place here: this {description['learner']} {reason}."
        )
    check_steps("steps", steps)
    if not taken["free"]:
        return None
    return taken["default"] if steps is None else steps
