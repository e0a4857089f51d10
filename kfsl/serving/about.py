"""What a model card says of a learner that only the learner itself knows."""

import inspect
import re
from typing import Any

from kfsl.learners.base.given_layers import takes_pixels
from kfsl.learners.base.learner import Learner


def about(learner: Learner) -> dict[str, Any]:
    """Facts for the model card, as `model.json` keeps them.

    Args:
        learner: `Learner`.

    Returns:
        dict: `summary`, the method in a sentence; `reference`, the papers, in Markdown;
        `backbone`, the name of its class or None; `pretrained`, whether that was trained
        elsewhere; `parameters`, how many numbers the learner has, and `trainable`, how many of
        them training moves.
    """
    document = inspect.getdoc(type(learner)) or ""
    backbone = getattr(learner, "backbone", None)
    return {
        "summary": " ".join(document.split("\n\n")[0].split()),
        "reference": _reference(document),
        "backbone": None if backbone is None else type(backbone).__name__,
        "pretrained": takes_pixels(backbone),
        "parameters": int(learner.count_params()),
        "trainable": sum(weight.shape.num_elements() for weight in _values(learner)),
    }


def _values(learner: Learner) -> list[Any]:
    return [weight.value for weight in learner.trainable_weights]


def _reference(document: str) -> str:
    found = re.search(r"^Reference:\n((?:    .*\n?)+)", document, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
