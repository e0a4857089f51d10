"""A learner as ONNX or LiteRT files, one for each signature, that agree with its SavedModel."""

import os
import tempfile
from collections.abc import Mapping
from typing import Any, NoReturn

import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.runs.files import replaced_file
from kfsl.serving.export import export
from kfsl.serving.files import CLASSES_FILE
from kfsl.serving.format_check import difference_between
from kfsl.serving.formats import FORMATS, Format
from kfsl.serving.litert_format import LiteRTSignatures, to_litert
from kfsl.serving.onnx_format import STATE, OnnxSignatures, to_onnx
from kfsl.serving.signatures import INFER_JOINTLY, Shape, signatures_of
from kfsl.serving.unconvertible import UnconvertibleError
from kfsl.serving.whole_folder import write_folder, writing

#: Without these nothing can be served; the others are left out where they cannot be had.
NEEDED = ("adapt", "infer", "embed")
WANTED = ("serving_default", INFER_JOINTLY)
#: Not imported: each imports its runtime, of which one may be missing.
EXAMPLE = os.path.join(os.path.dirname(__file__), "example_of_{}.py")
SIGNATURES = {"onnx": OnnxSignatures, "litert": LiteRTSignatures}


def export_as(
    format_name: str,
    learner: Learner,
    path: str,
    *,
    image_shape: tuple[int, int, int],
    **arguments: Any,
) -> dict[str, Any]:
    """Writes a learner's signatures in a format that runs without TensorFlow.

    First a SavedModel is made and checked, and left nowhere; then each signature is converted,
    run in the format's own runtime, and compared with the SavedModel's on random episodes. An
    earlier export is replaced by a complete and correct one or not at all.

    Args:
        format_name: str. `"onnx"` or `"litert"`.
        learner: `Learner` of images, in float32.
        path: str. The folder to write.
        image_shape: tuple of three ints. As in `export`.
        **arguments: the others of `export`.

    Returns:
        The description that was written as `model.json`.

    Raises:
        ValueError: if the format's packages are missing, `path` holds something else, the format
            lacks an operation that the method needs, or its files give other answers.
        OSError: if there is no space for it, or it cannot be written.

    Example:
    ```python
    import importlib.util
    import tempfile
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.prototypical_network import PrototypicalNetwork
    from kfsl.serving.export_as import export_as

    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    if importlib.util.find_spec("ai_edge_litert"):
        with tempfile.TemporaryDirectory() as folder:
            described = export_as("litert", learner, f"{folder}/model", image_shape=(8, 8, 1))
        assert described["files"]["embed"] == "embed.tflite"
    ```
    """
    format = FORMATS[format_name]
    format.check_installed()
    format.check_place(path)
    _check_kind(learner, format)
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "saved_model")
        description = export(learner, saved, image_shape=image_shape, **arguments)
        reference = tf.saved_model.load(saved)

        def fill(partial: str) -> dict[str, Any]:
            return _fill(partial, learner, format, description, reference.signatures)

        return write_folder(
            path,
            fill,
            {CLASSES_FILE: arguments.get("training_data") or {}},
            EXAMPLE.format(format.name),
            arguments.get("evaluations", ()),
        )


def _check_kind(learner: Learner, format: Format) -> None:
    if not learner.objective.has_classes:
        _refuse(learner, format, "it answers with numbers, and kfsl writes classifiers of images")
    if learner.compute_dtype != "float32":
        _refuse(learner, format, f"it computes in {learner.compute_dtype}, and float32 is needed")


def _refuse(learner: Learner, format: Format, reason: str) -> NoReturn:
    raise ValueError(
        f"{type(learner).__name__} cannot be exported as {format.title}: {reason}. Export it as a "
        "SavedModel: --format=saved_model."
    )


def _fill(
    partial: str,
    learner: Learner,
    format: Format,
    description: dict[str, Any],
    reference: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes the files and tries them; what `model.json` says of them.

    Where the size of images is free, LiteRT's converter has too many free axes, and ONNX's may.
    """
    image = description["image"]
    trained = tuple(image["trained_shape"])
    shapes = [trained]
    if format.name == "onnx" and tuple(image["shape"]) != trained:
        shapes.insert(0, tuple(image["shape"]))
    failure = None
    for shape in shapes:
        try:
            found = _written(partial, learner, format, shape, description, reference)
        except UnconvertibleError as error:
            failure = error
            continue
        smallest = image["smallest_size"] if None in shape else None
        return {
            **description,
            "format": format.name,
            "image": {**image, "shape": list(shape), "smallest_size": smallest},
            "inputs": {**description["inputs"], "shape": list(shape)},
            **found,
            "state_prefix": STATE if format.name == "onnx" else "",
            "label_checks": False,
        }
    _refuse(learner, format, str(failure))


def _written(
    partial: str,
    learner: Learner,
    format: Format,
    shape: Shape,
    description: dict[str, Any],
    reference: Mapping[str, Any],
) -> dict[str, Any]:
    """Files, what is left out, and the largest difference, for images of a shape."""
    contents, left_out = _contents(learner, format, shape, description)
    files = {name: format.file(name) for name in contents}
    for name, content in contents.items():
        with writing(partial), replaced_file(os.path.join(partial, files[name])) as file:
            file.write(content)
    trained = tuple(description["image"]["trained_shape"])
    found = SIGNATURES[format.name](partial, files)
    any_size = None in shape
    difference = difference_between(learner, format.title, trained, any_size, reference, found)
    return {"files": files, "left_out": left_out, "difference_from_saved_model": difference}


def _contents(
    learner: Learner, format: Format, shape: Shape, description: dict[str, Any]
) -> tuple[dict[str, bytes], dict[str, str]]:
    calibration = description["calibration"]
    temperature = 1.0 if calibration is None else calibration["temperature"]
    functions = signatures_of(learner, shape, temperature=temperature, checked=False)
    contents: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for name in [each for each in (*NEEDED, *WANTED) if each in functions]:
        try:
            contents[name] = _converted(learner, format, name, functions[name])
        except UnconvertibleError as error:
            if name in NEEDED:
                raise UnconvertibleError([], _lacking(name, error, format)) from error
            left_out[name] = str(error)
    return contents, left_out


def _lacking(name: str, error: UnconvertibleError, format: Format) -> str:
    if error.operations:
        return f"{name!r} needs {error}, which {format.title} lacks"
    return f"{name!r} cannot be converted ({error})"


def _converted(learner: Learner, format: Format, name: str, function: Any) -> bytes:
    if format.name == "onnx":
        return to_onnx(function, STATE if name == "adapt" else "")
    return to_litert(function, name, [variable.value for variable in learner.variables])
