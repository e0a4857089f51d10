"""An honest word on a support set: how far its classes can be told apart at all."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.datasets.image_files import is_blank
from data_pipelines.datasets.image_set import blank_words
from kfsl.prediction.image_folders import ImageFiles, SupportFiles

#: Largest class over smallest, from which on sizes count as very unequal.
UNEQUAL = 3
#: Lines of one kind that are printed; files hold all.
SHOWN = 10
#: Difference of mean pixels that looks like inverted images, on 0..255.
INVERTED = 100


def leave_one_out_lines(
    support: SupportFiles,
    left_out: Any,
    transductive: bool,
    smallest_shots: int = 1,
    folders: bool = True,
) -> list[str]:
    """What leaving out each support image in turn says of the support set.

    Args:
        support: `SupportFiles`.
        left_out: `LeftOut` or None, where nothing was tried.
        transductive: bool. Whether the model classifies all queries together.
        smallest_shots: int. The least number of images of a class that the model takes.
        folders: bool. Whether a class is a folder, for the words. Defaults to `True`.

    Returns:
        list of str.
    """
    own, theirs = ("folder", "the class of their folder") if folders else ("class", "their class")
    if transductive:
        return [
            "Leave-one-out accuracy cannot be estimated: this model is transductive, its scores "
            "depend on which images are classified together. The same image may get another "
            "score in other company."
        ]
    few = "one image" if smallest_shots == 1 else f"{smallest_shots} images"
    if left_out is None or not len(left_out.indices):
        return [
            f"Leave-one-out accuracy cannot be estimated: every class has {few} only. How good "
            "the predictions are is unknown; add another image to each class to find out."
        ]
    tried, correct = len(left_out.indices), left_out.correct
    low, high = wilson_interval(correct, tried)
    chance = 1 / len(support.classes)
    lines = [
        f"Leave-one-out: {correct} of {tried} support images ({correct / tried:.0%}; 95 % "
        f"interval {low:.0%} to {high:.0%}; guessing {chance:.0%}) get {theirs} when the model has "
        "not seen them."
    ]
    eligible = sum(count for count in support.counts if count > smallest_shots)
    if tried < eligible:
        lines.append(f"  {tried} of {eligible} images were tried, to save time.")
    counts = zip(support.classes, support.counts, strict=True)
    alone = [name for name, count in counts if count <= smallest_shots]
    if alone:
        lines.append(f"  Not estimated, since they have {few} only: {_some(alone)}.")
    disagreeing = disagreements(support, left_out)
    lines += [
        f"  {found['image']} disagrees with its {own}: it looks like {found['prediction']} "
        f"({found['probability']:.2f})."
        for found in disagreeing[:SHOWN]
    ]
    if len(disagreeing) > SHOWN:
        lines.append(f"  ... and {len(disagreeing) - SHOWN} more.")
    return lines


def disagreements(support: SupportFiles, left_out: Any) -> list[dict[str, Any]]:
    """The support images that get another class than their folder's, surest first.

    Args:
        support: `SupportFiles`.
        left_out: `LeftOut`.

    Returns:
        list of dicts with `image`, `folder`, `prediction` and `probability`.
    """
    names = support.names
    found = [
        {
            "image": names[index],
            "folder": support.classes[label],
            "prediction": support.classes[prediction],
            "probability": round(float(row[prediction]), 6),
        }
        for index, label, prediction, row in zip(
            left_out.indices,
            left_out.labels,
            left_out.predictions,
            left_out.probabilities,
            strict=True,
        )
        if label != prediction
    ]
    return sorted(found, key=lambda one: -one["probability"])


def support_values(support: SupportFiles, left_out: Any) -> dict[str, Any]:
    """What a file of predictions says of the support set.

    Args:
        support: `SupportFiles`.
        left_out: `LeftOut` or None, where nothing was tried.

    Returns:
        dict that JSON can hold.
    """
    values: dict[str, Any] = {
        "images_per_class": dict(zip(support.classes, support.counts, strict=True)),
        "skipped_files": support.skipped,
        "left_out": dict(support.left_out),
        "leave_one_out": None,
    }
    if left_out is not None and len(left_out.indices):
        tried = len(left_out.indices)
        values["leave_one_out"] = {
            "images": tried,
            "correct": left_out.correct,
            "accuracy": left_out.correct / tried,
            "interval_95": list(wilson_interval(left_out.correct, tried)),
            "disagreeing": disagreements(support, left_out),
        }
    return values


def warnings_of(
    support: SupportFiles,
    support_images: np.ndarray,
    queries: ImageFiles,
    query_images: np.ndarray,
    training_mean: float | None,
) -> list[str]:
    """What in the images themselves makes predictions doubtful.

    Args:
        support: `SupportFiles`.
        support_images: uint8 array, `[S, H, W, C]`.
        queries: `ImageFiles`.
        query_images: uint8 array, `[Q, H, W, C]`.
        training_mean: float or None. Mean pixel of the training images.

    Returns:
        list of str.
    """
    found = []
    smallest, largest = min(support.counts), max(support.counts)
    if largest >= UNEQUAL * smallest:
        few = support.classes[support.counts.index(smallest)]
        many = support.classes[support.counts.index(largest)]
        found.append(
            f"Class sizes differ very much: {few} has {smallest}, {many} has {largest}. The "
            "large class may win too often."
        )
    found += _repeated(support, support_images, queries, query_images)
    found += _blank([*support.names, *queries.names], [*support_images, *query_images])
    mean = float(np.concatenate([support_images.ravel(), query_images.ravel()]).mean())
    if training_mean is not None and _opposite(mean, training_mean):
        kind = "darker" if mean < training_mean else "lighter"
        found.append(
            f"Your images are much {kind} (mean pixel {mean:.0f}) than the training images "
            f"({training_mean:.0f}): ink and paper may be exchanged. Invert them and compare."
        )
    return found


def wilson_interval(correct: int, tried: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion; it holds for small numbers too.

    Args:
        correct: int.
        tried: int, at least 1.
        z: float. Quantile of the normal distribution.

    Returns:
        Lower and upper end, in 0..1.
    """
    share = correct / tried
    centre = share + z * z / (2 * tried)
    spread = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    scale = 1 + z * z / tried
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _repeated(
    support: SupportFiles,
    support_images: np.ndarray,
    queries: ImageFiles,
    query_images: np.ndarray,
) -> list[str]:
    names, first, found = support.names, {}, []
    contradictions, copies = [], 0
    for index, image in enumerate(support_images):
        earlier = first.setdefault(image.tobytes(), index)
        copies += earlier != index
        if support.labels[earlier] != support.labels[index]:
            contradictions.append(f"{names[earlier]} = {names[index]}")
    if contradictions:
        found.append(f"The same image lies in two classes: {_some(contradictions)}.")
    harmless = copies - len(contradictions)
    if harmless:
        found.append(
            f"Support images that are copies of others in their class: {harmless}; leave-one-out "
            "looks better than it is."
        )
    known = [
        name
        for name, image in zip(queries.names, query_images, strict=True)
        if image.tobytes() in first
    ]
    if known:
        found.append(f"Queries that are support images too say nothing: {_some(known)}.")
    return found


def _blank(names: Sequence[str], images: Sequence[np.ndarray]) -> list[str]:
    blank = [name for name, image in zip(names, images, strict=True) if is_blank(image)]
    return [blank_words(blank)] if blank else []


def _opposite(mean: float, training_mean: float) -> bool:
    middle = 127.5
    sides_differ = (mean - middle) * (training_mean - middle) < 0
    return sides_differ and abs(mean - training_mean) > INVERTED


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
