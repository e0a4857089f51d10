"""Classifies images by a learner's signatures, and asks how far its support set can be trusted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.prediction.left_out import LeftOut
from kfsl.serving.files import (
    calibration_of,
    chosen_steps,
    read_description,
    read_training_data,
)
from kfsl.serving.saved_model import variables_of
from kfsl.serving.signatures import INFER_JOINTLY
from kfsl.serving.traced import traced

#: What `infer` says of each query.
ANSWERS = ("probabilities", "logits")
#: Images embedded or classified at once: large ones, or what a pretrained network makes of small
#: ones, take a hundred megabytes each while they are looked at.
BATCH = 32
#: Leave-one-out learns the support set anew for each image; more are not tried.
MOST_LEFT_OUT = 200
#: Gradient steps that leave-one-out takes in all, where learning takes steps; but it always
#: tries `FEWEST_LEFT_OUT` images.
MOST_STEPS, FEWEST_LEFT_OUT = 200, 20


class ServedLearner:
    """A learner by its signatures, with features computed once.

    `load` takes those of a SavedModel, `of` those of a learner in memory: the same functions.

    Args:
        signatures: mapping from names to concrete functions; see `kfsl.serving`.
        description: mapping. What `model.json` says of them.
        steps: int or None. Gradient steps, where `steps.free` in the description; None: as many
            as `steps.default` there.
        owner: object or None. What owns the variables, as TensorFlow tracks it: signatures do not
            keep them alive.
        trained_on: mapping or None. What `classes.json` says.

    Raises:
        ValueError: for steps that the model does not take.

    Example:
    ```python
    import numpy as np
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.prototypical_network import PrototypicalNetwork
    from kfsl.prediction.served_learner import ServedLearner

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("uint8")
    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    served = ServedLearner.of(learner, image_shape=(8, 8, 1))
    features = served.embed(images)
    answers = served.answers(features, np.array([0, 0, 1, 1]), features)
    assert answers["probabilities"].shape == (4, 2)
    ```
    """

    def __init__(
        self,
        signatures: Mapping[str, Any],
        description: Mapping[str, Any],
        steps: int | None = None,
        owner: Any = None,
        trained_on: Mapping[str, Any] | None = None,
    ) -> None:
        self.signatures = signatures
        self.description = description
        self.steps = chosen_steps(description, steps)
        self.owner = owner
        self.trained_on = trained_on or {}

    @classmethod
    def load(cls, path: str, steps: int | None = None) -> "ServedLearner":
        """A learner from a SavedModel.

        Args:
            path: str. The folder that `kfsl.export` wrote.
            steps: int or None. As above.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: for steps that the model does not take, or files that are damaged.
        """
        description = read_description(path)
        chosen_steps(description, steps)
        loaded = _loaded(path)
        return cls(loaded.signatures, description, steps, loaded, read_training_data(path))

    @classmethod
    def of(
        cls, learner: Learner, image_shape: tuple[int, int, int], steps: int | None = None
    ) -> "ServedLearner":
        """A learner in memory.

        Args:
            learner: `Learner` of classes.
            image_shape: tuple of three ints. Height, width and channels that images get.
            steps: int or None. As above.

        Raises:
            ValueError: for steps that it does not take, or a state that cannot be served.
        """
        signatures, description = traced(learner, tuple(image_shape), any_size=False)
        # The variables keep what the signatures read; the learner need not be tracked.
        return cls(signatures, description, steps, variables_of(learner))

    @property
    def transductive(self) -> bool:
        """Queries influence each other, so they are classified at once."""
        return self.description["transductive"]

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What was fitted on validation episodes, if it holds for `steps`."""
        return calibration_of(self.description, self.steps)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels that images are scaled to."""
        return tuple(self.description["image"]["trained_shape"])

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Features of images, `[n, ...]`.

        Args:
            images: uint8 array, `[n, height, width, channels]`.

        Raises:
            ValueError: for another type: TensorFlow would cut floats in 0..1 down to 0 and 1.
        """
        if images.dtype != np.uint8:
            raise ValueError(
                f"Images are raw pixels, uint8 from 0 to 255; received {images.dtype}. Give them "
                "as they are in the file, not divided by 255."
            )
        return np.concatenate(
            [
                self.signatures["embed"](images=tf.constant(part))["features"].numpy()
                for part in _parts(images)
            ]
        )

    def adapt(self, support_features: np.ndarray, labels: np.ndarray) -> dict[str, tf.Tensor]:
        """What the support set teaches.

        Args:
            support_features: array, `[S, ...]`, from `embed`.
            labels: int array, `[S]`.

        Returns:
            The state: a dict of tensors.
        """
        return self.signatures["adapt"](
            support_features=tf.constant(support_features),
            support_labels=tf.constant(labels, tf.int32),
            **({} if self.steps is None else {"steps": tf.constant(self.steps)}),
        )

    def infer(
        self, state: Mapping[str, tf.Tensor], query_features: np.ndarray, jointly: bool = False
    ) -> dict[str, np.ndarray]:
        """All that the model says of the queries.

        Args:
            state: mapping, from `adapt`.
            query_features: array, `[Q, ...]`, from `embed`.
            jointly: bool. Among base classes too, of a model that keeps them.

        Returns:
            dict of float32 arrays `[Q, ways]`: `probabilities`, and `logits`; jointly, base
            classes come before the support set's.
        """
        infer = self.signatures[INFER_JOINTLY if jointly else "infer"]
        parts = [query_features] if self.transductive else _parts(query_features)
        told = [infer(**state, query_features=tf.constant(part)) for part in parts]
        return {name: np.concatenate([each[name].numpy() for each in told]) for name in ANSWERS}

    def answers(
        self,
        support_features: np.ndarray,
        labels: np.ndarray,
        query_features: np.ndarray,
        jointly: bool = False,
    ) -> dict[str, np.ndarray]:
        """`adapt`, then `infer`.

        Args:
            support_features: array, `[S, ...]`, from `embed`.
            labels: int array, `[S]`.
            query_features: array, `[Q, ...]`, from `embed`.
            jointly: bool. As in `infer`.

        Returns:
            As `infer`.
        """
        return self.infer(self.adapt(support_features, labels), query_features, jointly)

    def leave_one_out(self, support_features: np.ndarray, labels: np.ndarray) -> LeftOut:
        """Classifies each support image with a model that has not seen it.

        The only image of a class cannot be left out, nor one of so few that the model would
        refuse the rest. Of more than `MOST_LEFT_OUT` images so
        many are tried, spread evenly; fewer where learning takes gradient steps.

        Args:
            support_features: array, `[S, ...]`, from `embed`.
            labels: int array, `[S]`.

        Returns:
            `LeftOut`.
        """
        labels = np.asarray(labels)
        smallest = self.description["shots"]["minimum"]
        candidates = np.flatnonzero(np.bincount(labels)[labels] > smallest)
        most = most_left_out(self.steps)
        if len(candidates) > most:
            spread = np.linspace(0, len(candidates) - 1, most)
            candidates = candidates[spread.round().astype(int)]
        rows = {name: [] for name in ANSWERS}
        for index in candidates:
            others = np.arange(len(labels)) != index
            query = support_features[index : index + 1]
            answers = self.answers(support_features[others], labels[others], query)
            for name, found in rows.items():
                found.append(answers[name][0])
        if not len(candidates):
            nothing = np.empty((0, int(labels.max()) + 1))
            return LeftOut(candidates, nothing, labels[candidates], nothing)
        probabilities, logits = (np.array(rows[name]) for name in ANSWERS)
        return LeftOut(candidates, probabilities, labels[candidates], logits)


def _loaded(path: str) -> Any:
    try:
        return tf.saved_model.load(path)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:
        # A cut graph or cut weights: the loader raises whatever the bytes happen to lead to.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"The SavedModel in {path!r} is damaged ({reason}). Copy it again, or export again: "
            "python -m kfsl.export --run_dir=RUN"
        ) from error


def most_left_out(steps: int | None) -> int:
    """How many images leave-one-out tries.

    Args:
        steps: int or None. Gradient steps of one adaptation.

    Returns:
        int.
    """
    if not steps:
        return MOST_LEFT_OUT
    return min(MOST_LEFT_OUT, max(FEWEST_LEFT_OUT, MOST_STEPS // steps))


def _parts(array: np.ndarray) -> list[np.ndarray]:
    return [array[start : start + BATCH] for start in range(0, len(array), BATCH)]
