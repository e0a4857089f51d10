"""The model cards of what a run exported: what they say was measured."""

import os
from collections.abc import Iterator

from kfsl.command_line.command import one_line
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import read_json, read_text, write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.serving.files import CARD_FILE, CLASSES_FILE, MODEL_FILE
from kfsl.serving.formats import FORMATS
from kfsl.serving.model_card import is_as_written, model_card


def evaluations_of(run: RunDirectory, weights: str) -> list[Evaluation]:
    """What was measured of some weights of a run.

    Args:
        run: `RunDirectory`.
        weights: str. SHA-256 of the file of weights; of none nothing was measured.

    Returns:
        list of `Evaluation`, by the names of their files. Paired differences are none, and what
        cannot be read is left out: it says nothing that could be believed.
    """
    folder = os.path.dirname(run.evaluation_path("test"))
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".json"):
            continue
        try:
            found.append(Evaluation.load(os.path.join(folder, name)))
        except ValueError:
            continue
    return [each for each in found if weights and each.weights == weights]


def refresh_cards(run: RunDirectory, weights: str) -> list[str]:
    """Writes again the cards of a run's exports that are of the weights just measured.

    Args:
        run: `RunDirectory`.
        weights: str. SHA-256 of the file of weights.

    Returns:
        list of str, a line for people for each export of these weights.
    """
    measured = evaluations_of(run, weights)
    return [
        _refreshed(folder, description, measured)
        for folder, description in _exports(run)
        if weights and description.get("weights") == weights
    ]


def _exports(run: RunDirectory) -> Iterator[tuple[str, dict]]:
    for format in FORMATS.values():
        folder = run.exported(format.name)
        path = os.path.join(folder, MODEL_FILE)
        if os.path.isfile(path):
            try:
                yield folder, read_json(path, "export again")
            except ValueError:
                continue  # The next export replaces it; there is nothing to be said of it.


def _refreshed(folder: str, description: dict, measured: list[Evaluation]) -> str:
    path = os.path.join(folder, CARD_FILE)
    # The evaluation is stored by now: whatever is wrong here must not hide what it found.
    try:
        if os.path.isfile(path) and not is_as_written(read_text(path)):
            return f"not written: {path}, which somebody has edited; it may lack this evaluation"
        classes = os.path.join(folder, CLASSES_FILE)
        trained_on = read_json(classes, "export again") if os.path.isfile(classes) else {}
        write_text(path, model_card(description, trained_on, measured))
    except (OSError, ValueError) as error:
        return f"not written: {path} ({one_line(error)})"
    return f"told in {path}"
