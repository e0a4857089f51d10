"""What a prediction is refused for, before TensorFlow is imported."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kfsl.calibration.threshold import fewest_scores
from kfsl.prediction.rejection import NONE, no_threshold
from kfsl.serving.files import EXAMPLE_FILE, calibration_of

OUTPUT_ENDINGS = (".csv", ".json")


def check_output(output: str | None) -> None:
    """Refuses a file that could not be written after the work is done.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if output is None:
        return
    if not output.lower().endswith(OUTPUT_ENDINGS):
        raise ValueError(f"--output must end in .csv or .json; received {output!r}.")
    if os.path.isdir(output):
        raise ValueError(f"--output={output} is a folder; name a file.")
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"The folder {folder!r} of --output does not exist; make it first.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder!r} of --output cannot be written to.")


def check_images(description: Mapping[str, Any], saved_model: str) -> None:
    """Refuses a model that does not classify images as files have them.

    Args:
        description: mapping, from `model.json`.
        saved_model: str. Its folder.

    Raises:
        ValueError: saying what it is for, and how it is used.
    """
    if description["image"] is None:
        script = os.path.join(saved_model, EXAMPLE_FILE)
        raise ValueError(
            f"{saved_model} answers with numbers ({description['learner']}), not with classes of "
            f"images. How it is used: python {script}"
        )
    channels = description["image"]["trained_shape"][2]
    if channels not in (1, 3):
        raise ValueError(
            f"This model takes images of {channels} channels; image files give 1 (grey) or 3 "
            "(colour). Call its signatures with arrays of your own."
        )


def check_ways(description: Mapping[str, Any], found: int, where: str) -> None:
    """Refuses a support set with more or fewer classes than the model takes.

    Args:
        description: mapping, from `model.json`.
        found: int. Classes of the support set.
        where: str. What has them, for the message.

    Raises:
        ValueError: naming both numbers.
    """
    ways = description["ways"]["fixed"]
    if ways is None or found == ways or (found < ways and description["ways"]["fewer"]):
        return
    remedy = (
        f"Leave {found - ways} out, or classify in several calls"
        if found > ways
        else f"Add {ways - found} more"
    )
    limit = "at most" if description["ways"]["fewer"] else "exactly"
    raise ValueError(
        f"This {description['learner']} tells {limit} {ways} classes apart, and {where} has "
        f"{found} classes. {remedy}; or train a method that is free in ways, such as "
        "PrototypicalNetwork."
    )


def check_shots(description: Mapping[str, Any], counts: Mapping[Any, int]) -> None:
    """Refuses a support set with fewer images of a class than the model learns from.

    Args:
        description: mapping, from `model.json`.
        counts: mapping from classes to numbers of images.

    Raises:
        ValueError: naming the class.
    """
    smallest = description["shots"]["minimum"]
    for name, count in counts.items():
        if count < smallest:
            raise ValueError(
                f"This {description['learner']} learns from {smallest} images or more of each "
                f"class, and {name!r} has {count}. Add {smallest - count} more."
            )


def check_rejection(
    description: Mapping[str, Any], counts: Iterable[int], steps: int | None
) -> None:
    """Refuses to call an image none of the classes where no line could be drawn.

    Args:
        description: mapping, from `model.json`.
        counts: iterable of int. Images of each class of the support set.
        steps: int or None. As `chosen_steps` gives them.

    Raises:
        ValueError: naming what is missing.
    """
    if (calibration_of(description, steps) or {}).get("rejection"):
        return
    smallest = description["shots"]["minimum"]
    left_out = sum(count for count in counts if count > smallest)
    if description["transductive"]:
        left_out = 0
    if left_out < fewest_scores():
        raise ValueError(no_threshold(left_out))


def check_none_of_these(classes: Sequence[str], base_classes: bool) -> None:
    """Refuses what `--none_of_these` does not go with.

    Args:
        classes: sequence of str. Of the support set.
        base_classes: bool. Whether base classes are asked about too.

    Raises:
        ValueError: saying what to change.
    """
    if base_classes:
        raise ValueError(
            "--none_of_these is about the support set's classes alone, and does not go with "
            "--classes=both; leave one out."
        )
    if NONE in classes:
        raise ValueError(
            f"A class of the support set is called {NONE!r}, which is what --none_of_these calls "
            "images of no class. Rename its folder."
        )


def check_base_classes(description: Mapping[str, Any], trained_on: Mapping[str, Any]) -> None:
    """Refuses to keep base classes with a model that has none, or does not know their names.

    Args:
        description: mapping, from `model.json`.
        trained_on: mapping, from `classes.json`.

    Raises:
        ValueError: naming what is missing.
    """
    kept = description.get("base_classes", 0)
    if not kept:
        raise ValueError(
            f"This {description['learner']} keeps no base classes, so --classes=both (in Python "
            "base_classes=True) has no place here. Leave it out, or export a learner that "
            "classifies base classes, such as DenseClassification."
        )
    named = len(trained_on.get("training_classes", ()))
    if named != kept:
        raise ValueError(
            f"The model tells {kept} base classes and its classes.json names {named}: export the "
            "run again."
        )
