"""A classifier in its folder: a SavedModel with the support set beside it, without pickles."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines.datasets.value_range import ValueRange
from kfsl.classifier.learnt_support import LearntSupport
from kfsl.classifier.support_set import SupportSet
from kfsl.runs.files import read_json
from kfsl.serving import example
from kfsl.serving.files import CLASSES_FILE, read_description
from kfsl.serving.formats import FORMATS
from kfsl.serving.saved_model import write_saved_model
from kfsl.serving.signatures import INFER_JOINTLY, concrete_function

CLASSIFIER_FILE, FEATURES_FILE = "classifier.json", "support.npy"
FORMAT_VERSION = 1
#: The signature that has a support set inside: `images` -> `probabilities`.
CLASSIFY = "classify"
#: Of probabilities, after the graph was written and read again; on so many images.
TOLERANCE, PROBES = 1e-4, 3
#: What JSON gives back as it was.
PLAIN = (str, int, float, type(None))


@dataclasses.dataclass(frozen=True)
class SavedClassifier:
    """What is written of a classifier beside its model.

    Args:
        support: `SupportSet`.
        arguments: mapping. Of the constructor, apart from the model.

    Example:
    ```python
    import numpy as np
    from data_pipelines.datasets.value_range import ValueRange
    from kfsl.classifier.saved_classifier import SavedClassifier
    from kfsl.classifier.support_set import SupportSet

    saved = SavedClassifier(SupportSet(np.zeros((1, 8)), [("a", 1)], ValueRange()), {})
    assert saved.to_json(["a"])["support_labels"] == [{"tuple": ["a", 1]}]
    ```
    """

    support: SupportSet
    arguments: Mapping[str, Any]

    def to_json(self, classes: list[Hashable]) -> dict[str, Any]:
        """What `classifier.json` says.

        Args:
            classes: list of hashable labels, the columns of `classify`.

        Raises:
            TypeError: if a label is nothing that JSON can hold.
        """
        arguments = dict(self.arguments)
        arguments["none_label"] = _written(arguments.get("none_label"))
        return {
            "format_version": FORMAT_VERSION,
            "classes": [_written(label) for label in classes],
            "support_labels": [_written(label) for label in self.support.labels],
            "arguments": arguments,
            "values": dataclasses.asdict(self.support.values),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], features: np.ndarray) -> SavedClassifier:
        """Reads what `to_json` gave."""
        arguments = dict(values["arguments"])
        arguments["none_label"] = _read(arguments["none_label"])
        floats = values["values"]["floats"]
        found = ValueRange(values["values"]["largest"], None if floats is None else tuple(floats))
        labels = [_read(label) for label in values["support_labels"]]
        return cls(SupportSet(features, labels, found), arguments)


def write_classifier(path: str, learnt: LearntSupport, arguments: Mapping[str, Any]) -> None:
    """Writes a SavedModel with the signature `classify`, and the support set.

    Args:
        path: str. The folder; an earlier SavedModel of kfsl there is replaced.
        learnt: `LearntSupport`.
        arguments: mapping. Of the classifier's constructor, apart from the model.

    Raises:
        TypeError: if a label is nothing that JSON can hold.
        ValueError: if the folder holds something else.
        OSError: if it cannot be written.
    """
    FORMATS["saved_model"].check_place(path)
    served, features = learnt.served, learnt.support.features
    written = SavedClassifier(learnt.support, arguments).to_json(learnt.classes.tolist())
    state = {name: tf.Variable(tensor, trainable=False) for name, tensor in learnt.state.items()}

    def difference(folder: str) -> float:
        # Noise: the images of the support set are not kept.
        shape = (PROBES, *served.image_shape)
        images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
        told = served.infer(learnt.state, served.embed(images), learnt.jointly)
        expected = told["probabilities"][:, : len(learnt.classes)]
        loaded = tf.saved_model.load(folder)
        found = loaded.signatures[CLASSIFY](images=tf.constant(images))["probabilities"].numpy()
        largest = float(np.abs(found - expected).max())
        if not largest <= TOLERANCE:
            raise ValueError(f"The written graph differs by {largest:.2g}. Nothing was written.")
        return largest

    write_saved_model(
        path,
        [served.owner, state],
        {**served.signatures, CLASSIFY: _classify(learnt, state)},
        dict(served.description),
        difference,
        {
            CLASSES_FILE: served.trained_on,
            CLASSIFIER_FILE: written,
            FEATURES_FILE: _bytes(features.astype(_kept_dtype(features.dtype))),
        },
        example.__file__,
    )


def read_classifier(path: str) -> SavedClassifier:
    """The support set and arguments of a classifier's folder.

    Args:
        path: str.

    Returns:
        `SavedClassifier`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no classifier, or is damaged.
    """
    description = read_description(path)
    file = os.path.join(path, CLASSIFIER_FILE)
    if not os.path.isfile(file):
        raise ValueError(
            f"{path!r} is a model without support set: FewShotClassifier({path!r}).fit(...) makes "
            "a classifier of it."
        )
    values = read_json(file, "save it again")
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{file!r} has format version {version}; this release reads {FORMAT_VERSION}. Save "
            "the classifier again."
        )
    try:
        with open(os.path.join(path, FEATURES_FILE), "rb") as opened:
            features = np.load(opened, allow_pickle=False)
        features = features.astype(tf.as_dtype(description["features"]["dtype"]).as_numpy_dtype)
        saved = SavedClassifier.from_json(values, features)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"The classifier in {path!r} is damaged ({error}); save it again.") from (
            error
        )
    if len(features) != len(saved.support.labels):
        raise ValueError(
            f"The classifier in {path!r} is damaged ({len(saved.support.labels)} labels for "
            f"{len(features)} images); save it again."
        )
    return saved


def _classify(learnt: LearntSupport, state: Mapping[str, tf.Variable]) -> Any:
    embed = learnt.served.signatures["embed"]
    infer = learnt.served.signatures[INFER_JOINTLY if learnt.jointly else "infer"]
    (images,) = embed.structured_input_signature[1].values()

    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = embed(images=images)["features"]
        learnt_state = {name: value.read_value() for name, value in state.items()}
        told = infer(**learnt_state, query_features=features)
        return {"probabilities": told["probabilities"][:, : len(learnt.classes)]}

    return concrete_function(classify, images=images)


def _kept_dtype(dtype: np.dtype) -> Any:
    """NumPy's files know no bfloat16; float32 holds the same numbers."""
    return np.float32 if dtype == tf.bfloat16.as_numpy_dtype else dtype


def _bytes(features: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, features, allow_pickle=False)
    return file.getvalue()


def _written(label: Any) -> Any:
    if isinstance(label, tuple):
        return {"tuple": [_written(each) for each in label]}
    if isinstance(label, PLAIN):
        return label
    raise TypeError(
        f"A class that is saved must be text, a number, a boolean, None, or a tuple of these; "
        f"received {label!r} ({type(label).__name__})."
    )


def _read(value: Any) -> Any:
    return tuple(_read(each) for each in value["tuple"]) if isinstance(value, dict) else value
