"""What `kfsl.predict` says of a model and of the images that it is given."""

from typing import Any

from kfsl.prediction.image_folders import SupportFiles


def model_line(description: dict[str, Any], trained_on: dict[str, Any]) -> str:
    """The model, what it was trained on, and what becomes of the images.

    Args:
        description: dict, from `model.json`.
        trained_on: dict, from `classes.json`.

    Returns:
        str.
    """
    height, width, channels = description["image"]["trained_shape"]
    dataset = f" trained on {trained_on['dataset']}" if "dataset" in trained_on else ""
    colour = "grey" if channels == 1 else "colour"
    return f"{description['learner']}{dataset}; images are scaled to {height}x{width}, {colour}."


def how_lines(
    description: dict[str, Any], steps: int | None, queries: int, base_classes: int = 0
) -> list[str]:
    """How the support set was learnt and the queries were classified, where that is a choice.

    Args:
        description: dict, from `model.json`.
        steps: int or None. Gradient steps.
        queries: int. Images to classify.
        base_classes: int. Classes of the training that the queries may be of. Defaults to `0`.

    Returns:
        list of str.
    """
    lines = []
    if base_classes:
        lines.append(
            f"Queries may be of the {base_classes} classes of the training too; what follows is "
            "about the support set's alone."
        )
    if steps is not None:
        default = description["steps"]["default"]
        own = "" if steps == default else f"; its own number is {default}"
        lines.append(f"Learnt by {steps} gradient steps on the support set{own}.")
    if description["transductive"]:
        lines.append(f"Transductive: all {queries} queries were classified at once.")
    return lines


def support_line(support: SupportFiles) -> str:
    """Classes and images of the support set.

    Args:
        support: `SupportFiles`.

    Returns:
        str.
    """
    if len(set(support.counts)) == 1:
        return f"Support set: {len(support.classes)} classes of {support.counts[0]} images each."
    low, high = min(support.counts), max(support.counts)
    return (
        f"Support set: {len(support.classes)} classes, {sum(support.counts)} images, {low} to "
        f"{high} a class."
    )
