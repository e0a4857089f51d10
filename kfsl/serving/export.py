"""The SavedModel of a learner: it takes a support set and queries, and needs no kfsl or Keras."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.runs.environment import environment, now
from kfsl.runs.files import write_text
from kfsl.serving import example, example_of_numbers
from kfsl.serving.check import (
    check_fewer_ways,
    difference_from_learner,
    serves_fewer_ways,
    smallest_size,
    takes_any_size,
)
from kfsl.serving.files import (
    CLASSES_FILE,
    EXAMPLE_FILE,
    FORMAT_VERSION,
    MODEL_FILE,
    holds_saved_model,
)
from kfsl.serving.signatures import Shape, signatures_of


def export(
    learner: Learner,
    path: str,
    *,
    image_shape: tuple[int, int, int] | None,
    any_size: bool | None = None,
    training_data: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    weights: str = "",
) -> dict[str, Any]:
    """Writes a learner as a SavedModel that takes new classes without training.

    Its signatures are those of one episode, without meta-batch axis (`docs/serving.md`):

    - `serving_default`: `support_images`, `support_labels`, `query_images` -> `probabilities`.
    - `embed`: `images` -> `features`; `adapt`: `support_features`, `support_labels` -> the
      state; `infer`: the state and `query_features` -> `probabilities`, `logits`.
    - Of a learner of numbers `support_inputs`, `support_targets`, `query_inputs` ->
      `predictions`, and `embed` takes `inputs`.
    - Where `learner.adapts_in_steps`, `adapt` takes `steps` too, and `serve_with_steps` is
      `serving_default` with it; `serving_default` takes the learner's own number of steps.

    Numbers of support and query images are free; so are ways where `learner.ways` is None, and
    height and width where the backbone takes any. There is no support mask: nothing has to be
    padded. Beside the graph lie `model.json` (what the model takes), `classes.json` (what it was
    trained on) and `example.py`, which uses TensorFlow alone.

    The graph is loaded again and compared with the learner before it takes its place, so that
    an earlier export is replaced by a complete and correct one or not at all.

    Args:
        learner: `Learner`, with its weights.
        path: str. The folder to write; an earlier export there is replaced.
        image_shape: tuple of three ints, height, width and channels of the training images; None
            for a learner of numbers, whose network says what it takes.
        any_size: bool or None. Whether height and width stay free; None finds out.
        training_data: mapping that JSON can hold, or None. What `classes.json` shall say.
        overrides: sequence of str. Bindings in which the learner differs from its training.
        weights: str. SHA-256 of the file that the learner's weights are from, empty if they are
            from none; `model.json` keeps it, so that a later reader knows whose export this is.

    Returns:
        The description that was written as `model.json`.

    Raises:
        ValueError: if `path` holds something else, the learner's state cannot be served, it takes
            no fewer ways although it says so, or the loaded graph does not give its probabilities.
        OSError: if there is no space for it, or it cannot be written.

    Example:
    ```python
    import tempfile
    import tensorflow as tf
    from kfsl.serving import export as serving
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    with tempfile.TemporaryDirectory() as folder:
        serving.export(learner, f"{folder}/model", image_shape=(8, 8, 1))
        serve = tf.saved_model.load(f"{folder}/model").signatures["serving_default"]
        episode, _ = EpisodeSpec(ways=3, shots=2, queries=4, image_shape=(8, 8, 1)).random_episode()
        probabilities = serve(
            support_images=tf.constant(episode["support_images"][0]),
            support_labels=tf.constant(episode["support_labels"][0]),
            query_images=tf.constant(episode["query_images"][0]),
        )["probabilities"]
    assert probabilities.shape == (12, 3)
    ```
    """
    path = os.path.abspath(path)
    if not holds_saved_model(path):
        raise ValueError(
            f"{path!r} holds something that kfsl did not export; name another folder, or empty it."
        )
    shape = tuple(image_shape if learner.objective.has_classes else learner.input_shape)
    check_fewer_ways(learner, shape)
    free: Shape = (None, None, shape[-1])
    if any_size is None:
        any_size = takes_any_size(learner, shape, lambda: signatures_of(learner, free))
    served_shape = free if any_size else shape
    smallest = smallest_size(learner, shape) if any_size else None
    signatures = signatures_of(learner, served_shape, smallest)
    description = _describe(learner, shape, served_shape, smallest, signatures)
    partial = os.path.join(
        os.path.dirname(path), f".{os.path.basename(path)}.writing-{os.getpid()}"
    )
    description.update(overrides=list(overrides), weights=weights)
    try:
        with _writing(path):
            _write_graph(learner, signatures, partial)
        description["difference_from_python"] = difference_from_learner(
            learner, partial, shape, any_size
        )
        with _writing(path):
            _write_files(learner, partial, description, training_data or {})
            _replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return description


def _write_graph(learner: Learner, signatures: Mapping[str, Any], path: str) -> None:
    # Plain TensorFlow variables: saving the model itself would write what only Keras can read.
    module = tf.Module()
    module.weights = [variable.value for variable in learner.variables]
    tf.saved_model.save(module, path, signatures=dict(signatures))


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """Tells of a full disk in one way, and where: TensorFlow and Python each have their own."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        number = errno.ENOSPC if full else getattr(error, "errno", None) or errno.EIO
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise OSError(
            number,
            f"The SavedModel could not be written ({reason}), and what was there is kept. Make "
            "space, or name another folder than",
            path,
        ) from error


def _describe(
    learner: Learner,
    trained_shape: tuple[int, ...],
    served_shape: Shape,
    smallest: int | None,
    signatures: Mapping[str, Any],
) -> dict[str, Any]:
    state = signatures["adapt"].structured_outputs
    objective = learner.objective
    image = {
        "shape": list(served_shape),
        "trained_shape": list(trained_shape),
        "smallest_size": smallest,
        "dtype": "uint8",
        "pixel_range": [0, 255],
    }
    return {
        "format_version": FORMAT_VERSION,
        "learner": type(learner).__name__,
        "objective": type(objective).__name__,
        "bn_policy": learner.bn_policy,
        "transductive": learner.transductive,
        # Null where there are none.
        "image": image if objective.has_classes else None,
        "ways": {
            "fixed": learner.ways if objective.has_classes else None,
            "fewer": serves_fewer_ways(learner),
        },
        "inputs": {"shape": list(served_shape), "dtype": objective.input_dtype},
        "targets": {"shape": list(objective.target_shape), "dtype": objective.target_dtype},
        "base_classes": learner.kept_base_classes,
        "shots": {
            "minimum": learner.smallest_shots,
            "maximum": None,
            "may_differ_between_classes": True,
        },
        "steps": None
        if learner.default_steps is None
        else {"default": learner.default_steps, "free": learner.adapts_in_steps},
        "features": _written_spec(signatures["embed"].structured_outputs["features"]),
        "state": {name: _written_spec(tensor) for name, tensor in sorted(state.items())},
        "config": keras.saving.serialize_keras_object(learner),
        "versions": environment()["versions"],
        "exported": now(),
    }


def _written_spec(tensor: Any) -> dict[str, Any]:
    shape = None if tensor.shape.rank is None else tensor.shape.as_list()
    return {"dtype": tensor.dtype.name, "shape": shape}


def _write_files(
    learner: Learner,
    folder: str,
    description: Mapping[str, Any],
    training_data: Mapping[str, Any],
) -> None:
    for name, values in ((MODEL_FILE, description), (CLASSES_FILE, training_data)):
        text = json.dumps(values, indent=1, ensure_ascii=False, default=_plain)
        write_text(os.path.join(folder, name), text + "\n")
    script = example if learner.objective.has_classes else example_of_numbers
    shutil.copyfile(script.__file__, os.path.join(folder, EXAMPLE_FILE))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON.")


def _replace(new: str, path: str) -> None:
    """Puts a complete folder in the place of an earlier one."""
    old = f"{new}.old"
    if os.path.isdir(path):
        # A folder cannot be replaced in one step while it has files.
        os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        if os.path.isdir(old):
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
