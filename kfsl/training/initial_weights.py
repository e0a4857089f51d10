"""Weights to begin with: those of another run, or of a Keras model."""

from __future__ import annotations

import dataclasses
import os

import keras

from kfsl.command_line import gin_files
from kfsl.runs.learner_file import file_fingerprint, whole_copy
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """What was copied from where.

    Args:
        source: str. The run directory or file.
        fingerprint: str. SHA-256 (hex) of the file of weights.
        copied: tuple of str. Paths of the weights that were copied.
        own: tuple of str. Paths of those that were not found there, in the same shape.
    """

    source: str
    fingerprint: str
    copied: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, object]:
        """What a run's metadata say of it."""
        return {
            "start_from": self.source,
            "start_from_weights": self.fingerprint,
            "weights_copied": len(self.copied),
            "weights_of_its_own": list(self.own),
        }


def copy_initial_weights(learner: keras.Model, source: str) -> InitialWeights:
    """Copies every weight that a trained model has under the same path, in the same shape.

    So a learner begins with the backbone of another learner, and with its head and generators
    where it has the same ones. States of random number generators are not copied.

    Args:
        learner: `keras.Model`, built.
        source: str. A run directory, whose best weights count, or a `.keras` file.

    Returns:
        `InitialWeights`.

    Raises:
        FileNotFoundError: if there is no such file, or no trained learner.
        RunDirectoryError: if the folder is no run directory.
        ValueError: if the file is damaged, cannot be loaded, or has no weight that fits.

    Example:
    ```python
    import os
    import tempfile

    import numpy as np
    from kfsl.backbones.conv4 import Conv4
    from kfsl.training.initial_weights import copy_initial_weights
    from kfsl.learners.maml import MAML

    path = os.path.join(tempfile.mkdtemp(), "backbone.keras")
    trained = Conv4(image_shape=(28, 28, 1), filters=4)
    trained.save(path)
    learner = MAML(Conv4(image_shape=(28, 28, 1), filters=4), ways=5)
    found = copy_initial_weights(learner, path)
    assert found.own == ("head/kernel", "head/bias")
    np.testing.assert_array_equal(learner.backbone.get_weights()[0], trained.get_weights()[0])
    ```
    """
    path = _file(source)
    with whole_copy(path) as copy:
        fingerprint = file_fingerprint(copy)
        trained = _loaded(copy, path)
    values = {_path(trained, weight): weight for weight in trained.weights}
    copied, own = [], []
    for weight in learner.weights:
        if _is_seed(weight):
            continue
        path_within = _path(learner, weight)
        found = values.get(path_within)
        if found is None or found.shape != weight.shape:
            own.append(path_within)
            continue
        weight.assign(found)
        copied.append(path_within)
    if not copied:
        raise ValueError(
            f"{source!r} has no weight of the same name and shape as {type(learner).__name__}: "
            f"there {_first(trained.weights)}, here {_first(learner.weights)}. Start from a "
            "model with the same backbone."
        )
    return InitialWeights(source, fingerprint, tuple(copied), tuple(own))


def _path(model: keras.Model, weight: keras.Variable) -> str:
    """A weight's path within a model, whose own name another model does not have."""
    return weight.path.removeprefix(f"{model.name}/")


def _file(source: str) -> str:
    if not source.endswith(".keras"):
        run = RunDirectory(source)
        gin_file = gin_files.of_run(source)
        if gin_file is not None and not run.exists:
            raise FileNotFoundError(
                f"There is no run {source!r} to begin with: first train it with "
                f"python -m kfsl.train --gin_file={gin_file} --run_dir={source}"
            )
        check_trained(run)
        return run.best_learner
    if not os.path.isfile(source):
        raise FileNotFoundError(f"There is no file {source!r} to start from.")
    return source


def _loaded(copy: str, path: str) -> keras.Model:
    try:
        return keras.saving.load_model(copy, compile=False)
    except (TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path!r} cannot be loaded to start from: {reason}") from error


def _is_seed(weight: keras.Variable) -> bool:
    return weight.path.endswith("seed_generator_state")


def _first(weights: list[keras.Variable]) -> str:
    found = [f"{weight.path} {tuple(weight.shape)}" for weight in weights if not _is_seed(weight)]
    return found[0] if found else "none"
