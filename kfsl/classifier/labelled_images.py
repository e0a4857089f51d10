"""Images with their labels: those of a folder, or given beside them."""

import os
from collections.abc import Hashable
from typing import Any

from kfsl.classifier.class_labels import label_list
from kfsl.classifier.image_inputs import ImageInputs
from kfsl.prediction.image_folders import find_support


def labelled_images(
    images: Any, labels: Any = None, least: int = 1
) -> tuple[ImageInputs, list[Hashable]]:
    """Finds images and the label of each.

    Args:
        images: str or path of a folder with one folder of images for each class; or whatever
            `ImageInputs.of` takes.
        labels: sequence of hashable labels, one for each image; None for such a folder.
        least: int. Classes that the folder must have.

    Returns:
        `ImageInputs`, and a list of as many labels.

    Raises:
        FileNotFoundError: a folder or file is missing.
        TypeError: a label is not hashable.
        ValueError: labels are missing, or not one for each image; or nothing can be read.
    """
    if labels is not None:
        found = ImageInputs.of(images)
        return found, label_list(labels, len(found))
    if not isinstance(images, str | os.PathLike):
        raise ValueError(
            "Labels are missing, one for each image: a folder of class folders alone has them in "
            "its names."
        )
    support = find_support(os.fspath(images), least)
    names = [support.classes[label] for label in support.labels]
    return ImageInputs(support.files, tuple(support.names)), names
