"""What a classifier can be made of: an export, a run, a name, a network, a learner."""

import glob
import os
from collections.abc import Mapping
from typing import Any

import keras

from kfsl.backbones import pretrained
from kfsl.backbones.backbone import Backbone
from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.exported_run import exported
from kfsl.layers.network_pixels import pair_of
from kfsl.learners import LogisticRegression, PrototypicalNetwork, SimpleShot
from kfsl.learners.base.learner import Learner
from kfsl.prediction.request_checks import check_images
from kfsl.prediction.served_learner import ServedLearner
from kfsl.runs.learner_file import file_fingerprint
from kfsl.runs.run_directory import RunDirectory
from kfsl.serving.files import GRAPH_FILE, MODEL_FILE, read_description

#: What every KerasHub preset has.
PRESET_FILE = "config.json"
#: What a support set makes of a network's features, by name; the first is the default.
HEADS = {
    "simple_shot": SimpleShot,
    "logistic_regression": LogisticRegression,
    "prototypical_network": PrototypicalNetwork,
}


def served_model(
    model: Any,
    head: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    steps: int | None = None,
) -> ServedLearner:
    """The functions of whatever a classifier is to be made of.

    Args:
        model: str or path: the folder of a SavedModel that `kfsl.export` wrote, of a run, or the
            name or path of a pretrained network; or a `Learner`, or a `keras.Model` from images
            to features.
        head: str or None. Key of `HEADS`, for networks; a learner has its own.
        image_size: int, pair of ints, or None. Height and width that images are scaled to, where
            the model leaves it open.
        steps: int or None. Gradient steps, where the model takes any number.

    Returns:
        `ServedLearner`.

    Raises:
        FileNotFoundError: if there is no such folder.
        TypeError: if it is nothing of that kind.
        ValueError: if an argument has no place with it, or is missing.
    """
    if head is not None and head not in HEADS:
        raise ValueError(f"`head` must be one of {', '.join(HEADS)}; received {head!r}.")
    if isinstance(model, str | os.PathLike):
        path = _exported(os.fspath(model))
        if path is not None:
            _refuse(path, head=head, image_size=image_size)
            check_images(read_description(path), path)
            return ServedLearner.load(path, steps)
        model = pretrained(os.fspath(model))
    if isinstance(model, Learner):
        _refuse(type(model).__name__, head=head)
    elif isinstance(model, keras.Model):
        model = HEADS[head or next(iter(HEADS))](_backbone(model))
    else:
        raise TypeError(
            "`model` must be the folder of an exported model or of a run, the name of a "
            f"pretrained network, a Keras model or a learner; received {type(model).__name__}."
        )
    if not model.objective.has_classes:
        raise ValueError(f"This {type(model).__name__} answers with numbers, not with classes.")
    return ServedLearner.of(model, _image_shape(model, image_size), steps)


def weights_of(model: Any, served: ServedLearner) -> str | None:
    """What tells the weights of a folder from others; None where they cannot change.

    Args:
        model: as `served_model` takes it.
        served: `ServedLearner`, made of it.

    Returns:
        str, SHA-256 (hex), or None.
    """
    told = served.description.get("weights")
    if told or not isinstance(model, str | os.PathLike):
        return told
    # An export that was written from Python does not say of which weights it is.
    files = sorted(glob.glob(os.path.join(glob.escape(os.fspath(model)), "variables", "*.data*")))
    return "".join(map(file_fingerprint, files)) or None


def served_again(arguments: Mapping[str, Any]) -> ServedLearner:
    """The functions that a support set was learnt with, in another process.

    Args:
        arguments: mapping, which has those of `served_model`, and what `weights_of` said then.

    Returns:
        `ServedLearner`.

    Raises:
        ValueError: as `served_model`; if the model was trained or replaced meanwhile.
    """
    names = ("model", "head", "image_size", "steps")
    served = served_model(*(arguments[name] for name in names))
    weights = weights_of(arguments["model"], served)
    if weights != arguments.get("weights", weights):
        raise ValueError(
            f"The model {arguments['model']!r} has other weights than when this classifier was "
            "fitted, and its support set is known by those: `fit` it again. What `save` writes "
            "keeps its model."
        )
    return served


def _exported(path: str) -> str | None:
    """The SavedModel that a path stands for; None for a preset or a name."""
    if not os.path.isdir(path):
        return None
    if any(os.path.isfile(os.path.join(path, name)) for name in (GRAPH_FILE, MODEL_FILE)):
        return path
    run = RunDirectory(path)
    if os.path.isfile(run.config_path):
        return exported(run)
    if not os.path.isfile(os.path.join(path, PRESET_FILE)):
        raise ValueError(
            f"The folder {path!r} holds no model: neither {GRAPH_FILE} of an export, nor "
            f"config.gin of a run, nor {PRESET_FILE} of a KerasHub preset."
        )
    return None


def _refuse(what: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} has no place here: {what} has its own. Leave it out."
            )


def _backbone(model: keras.Model) -> keras.Model:
    """A network that learners take: Keras's own get pixels as they are, 0 to 255."""
    if isinstance(model, Backbone):
        return model
    # A subclass of keras.Model has no input shape, and is refused.
    shape = getattr(model, "input_shape", None) or (None, None, None, 3)
    return PretrainedBackbone(model, image_shape=shape[1:])


def _image_shape(
    learner: Learner, image_size: int | tuple[int, int] | None
) -> tuple[int, int, int]:
    backbone = getattr(learner, "backbone", None)
    height, width, channels = learner.input_shape or (None, None, 3)
    wanted = pair_of(image_size) or (height, width)
    if None in wanted and isinstance(backbone, PretrainedBackbone):
        wanted = backbone.pixels.image_size or wanted
    if None in wanted:
        raise ValueError(
            f"This {type(learner).__name__} takes images of any size: say with `image_size` which "
            "size yours are to be scaled to."
        )
    if any(own not in (None, size) for own, size in zip((height, width), wanted, strict=True)):
        raise ValueError(
            f"This {type(learner).__name__} takes images of {height}x{width}; received "
            f"image_size={image_size}. Leave it out."
        )
    return (*wanted, channels)
