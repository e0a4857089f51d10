"""Class labels of any hashable kind, as numbers from 0."""

import contextlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


def known_classes(labels: Sequence[Hashable]) -> np.ndarray:
    """The classes that occur, sorted; or in the order of their first image, if nothing sorts them.

    Args:
        labels: sequence of hashable labels; see `label_list`.

    Returns:
        Array, `[classes]`: of numbers or text where all labels are of one such kind, of objects
        otherwise.
    """
    found = list(dict.fromkeys(labels))
    with contextlib.suppress(TypeError):
        found.sort()
    return class_array(found)


def class_array(classes: Iterable[Hashable]) -> np.ndarray:
    """Classes in an array, each as it was given.

    Args:
        classes: iterable of hashable labels.

    Returns:
        Array, `[classes]`.
    """
    classes = list(classes)
    plain = (bool, int, float, str)
    kinds = {next((kind for kind in plain if isinstance(each, kind)), None) for each in classes}
    if len(kinds) == 1 and None not in kinds:
        return np.array(classes)
    # Element by element: of tuples NumPy would make a table.
    array = np.empty(len(classes), object)
    for place, each in enumerate(classes):
        array[place] = each
    return array


def with_base_classes(classes: np.ndarray, base: Sequence[str]) -> np.ndarray:
    """The classes of a training, and then a support set's.

    Args:
        classes: array, `[classes]`. Of the support set.
        base: sequence of str.

    Returns:
        Array, `[base + classes]`. A base class of the name of one of the support set's is another
        class, and is called so.
    """
    own = classes.tolist()
    named = [f"{name} (trained)" if name in own else name for name in base]
    return class_array([*named, *own])


def label_numbers(labels: Sequence[Hashable], classes: np.ndarray) -> np.ndarray:
    """The place of each label among the classes.

    Args:
        labels: sequence of hashable labels, `S`.
        classes: array, from `known_classes`.

    Returns:
        int32 array, `[S]`.
    """
    number = {label: place for place, label in enumerate(classes.tolist())}
    return np.array([number[label] for label in labels], "int32")


def label_list(labels: Any, images: int) -> list[Hashable]:
    """Checks labels and gives them as plain Python objects.

    Args:
        labels: sequence, array or tensor of hashable labels, one for each image; or one of these
            in a column.
        images: int. How many there must be.

    Returns:
        list of hashable objects.

    Raises:
        TypeError: a label is not hashable.
        ValueError: there are more or fewer than images, or they are numbers that name no class.
    """
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise ValueError(
            f"Labels are a sequence, one for each image; received {type(labels).__name__}."
        )
    if isinstance(labels, list | tuple):
        found = [each.item() if isinstance(each, np.generic) else each for each in labels]
    else:
        array = np.asarray(labels)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise ValueError(
                f"Labels are one for each image, [n]; received the shape {array.shape}."
            )
        found = array.tolist()
    if len(found) != images:
        raise ValueError(f"Received {len(found)} labels for {images} images.")
    for label in found:
        _check(label)
    return found


def _check(label: Any) -> None:
    try:
        hash(label)
    except TypeError as error:
        raise TypeError(
            f"A label must be hashable, such as text, a number or a tuple; received {label!r} "
            f"({type(label).__name__})."
        ) from error
    # Fractions and what is no number are measurements, no names of classes.
    if isinstance(label, float) and not label.is_integer():
        raise ValueError(
            f"Unknown label type: {label!r} is no class. Labels that are numbers must be whole."
        )
