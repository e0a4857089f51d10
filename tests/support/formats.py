"""Learners to export in other formats, and a format's files as its own runtime runs them."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kfsl import learners
from kfsl.serving.formats import FORMATS
from tests.support.backbones import two_blocks
from tests.support.contract import generic

SHAPE = (16, 16, 1)
WAYS = 4


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where a format's packages are missing."""
    missing = [each for each in FORMATS[name].modules if importlib.util.find_spec(each) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"{', '.join(missing)} not installed: pip install 'kfsl[{name}]'"
    )


def made(name: str, image_shape: tuple = SHAPE, **arguments: Any) -> keras.Model:
    """A small learner of some class, with weights that are nothing special."""
    keras.utils.set_random_seed(0)
    backbone = two_blocks(image_shape, filters=4, bn_momentum=0.9)
    if name == "ModulatedPrototypicalNetwork":
        arguments["encoder"] = two_blocks(image_shape, filters=4, bn_momentum=0.9)
    return generic(getattr(learners, name)(backbone, **arguments))


def exported(format_name: str, learner: keras.Model, folder: Path) -> dict[str, Any]:
    """Exports a learner of `SHAPE`, trained on two classes of patterns."""
    from kfsl.serving.export_as import export_as

    training_data = {"dataset": "patterns", "training_classes": ["a", "b"]}
    return export_as(
        format_name, learner, str(folder), image_shape=SHAPE, training_data=training_data
    )


def onnx_file(path: Path) -> Callable:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs), strict=True))


def litert_file(path: Path) -> Callable:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner(path.stem)


FORMAT = [pytest.param(name, marks=needs(name)) for name in ("onnx", "litert")]
OPENED = {"onnx": onnx_file, "litert": litert_file}


def answers(folder: Path, episode: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Probabilities by the whole, and by the three signatures one after another."""
    described = json.loads((folder / "model.json").read_text())
    opened = {
        name: OPENED[described["format"]](folder / file)
        for name, file in described["files"].items()
    }
    support, query = (
        opened["embed"](images=episode[name])["features"]
        for name in ("support_images", "query_images")
    )
    state = opened["adapt"](support_features=support, support_labels=episode["support_labels"])
    prefix = described["state_prefix"]
    state = {name.removeprefix(prefix): value for name, value in state.items()}
    found = {"whole": opened["serving_default"](**episode)["probabilities"]}
    for name in ("infer", "infer_jointly"):
        if name in opened:
            found[name] = opened[name](**state, query_features=query)["probabilities"]
    return found
