"""Classifies images with an exported model, and asks how far its support set can be trusted."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.serving.files import chosen_steps, read_description

#: What `infer` says of each query.
ANSWERS = ("probabilities", "logits")
#: Images embedded or classified at once.
BATCH = 128
#: Leave-one-out learns the support set anew for each image; more are not tried.
MOST_LEFT_OUT = 200
#: Gradient steps that leave-one-out takes in all, where learning takes steps; but it always
#: tries `FEWEST_LEFT_OUT` images.
MOST_STEPS, FEWEST_LEFT_OUT = 200, 20


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What a model says of support images that it was not shown.

    Args:
        indices: int array, `[n]`. The support images that were left out, one at a time.
        probabilities: float array, `[n, ways]`.
        labels: int array, `[n]`. Their classes.
        logits: float array, `[n, ways]`.
    """

    indices: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        return self.probabilities.argmax(axis=-1)

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())


class ServedLearner:
    """A learner from a SavedModel, with features computed once.

    Args:
        path: str. The folder of the SavedModel.
        transductive: bool. Queries influence each other, so they are classified at once.
        steps: int or None. Gradient steps, where `steps.free` in `model.json`; None: as many as
            `steps.default` there.

    Raises:
        ValueError: for steps that the model does not take, or files that are damaged.

    Example:
    ```python
    import tempfile
    import numpy as np
    from kfsl.serving.export import export
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.prototypical_network import PrototypicalNetwork
    from kfsl.prediction.served_learner import ServedLearner

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("uint8")
    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    with tempfile.TemporaryDirectory() as folder:
        export(learner, f"{folder}/model", image_shape=(8, 8, 1))
        served = ServedLearner(f"{folder}/model")
        features = served.embed(images)
        probabilities = served.classify(features, np.array([0, 0, 1, 1]), features)
    assert probabilities.shape == (4, 2)
    ```
    """

    def __init__(self, path: str, transductive: bool = False, steps: int | None = None) -> None:
        description = read_description(path)
        self._steps = chosen_steps(description, steps)
        self._smallest_shots = description["shots"]["minimum"]
        # The signatures do not keep the variables alive; the loaded object does.
        self._loaded = _loaded(path)
        self._signatures = self._loaded.signatures
        self._transductive = transductive

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
                self._signatures["embed"](images=tf.constant(part))["features"].numpy()
                for part in _parts(images)
            ]
        )

    def classify(
        self,
        support_features: np.ndarray,
        labels: np.ndarray,
        query_features: np.ndarray,
        jointly: bool = False,
    ) -> np.ndarray:
        """Probabilities of the queries.

        Args:
            support_features: array, `[S, ...]`, from `embed`.
            labels: int array, `[S]`.
            query_features: array, `[Q, ...]`, from `embed`.
            jointly: bool. Among base classes too, of a model that keeps them.

        Returns:
            float32 array, `[Q, ways]`; jointly, base classes come before the support set's.
        """
        answers = self.answers(support_features, labels, query_features, jointly)
        return answers["probabilities"]

    def answers(
        self,
        support_features: np.ndarray,
        labels: np.ndarray,
        query_features: np.ndarray,
        jointly: bool = False,
    ) -> dict[str, np.ndarray]:
        """All that the model says of the queries.

        Args:
            support_features: array, `[S, ...]`, from `embed`.
            labels: int array, `[S]`.
            query_features: array, `[Q, ...]`, from `embed`.
            jointly: bool. As in `classify`.

        Returns:
            dict of float32 arrays `[Q, ways]`: `probabilities`, and `logits`.
        """
        state = self._signatures["adapt"](
            support_features=tf.constant(support_features),
            support_labels=tf.constant(labels, tf.int32),
            **({} if self._steps is None else {"steps": tf.constant(self._steps)}),
        )
        parts = [query_features] if self._transductive else _parts(query_features)
        told = [self._infer(state, part, jointly) for part in parts]
        return {name: np.concatenate([each[name].numpy() for each in told]) for name in ANSWERS}

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
        candidates = np.flatnonzero(np.bincount(labels)[labels] > self._smallest_shots)
        most = most_left_out(self._steps)
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
        probabilities, logits = (np.array(rows[name]) for name in ANSWERS)
        return LeftOut(candidates, probabilities, labels[candidates], logits)

    def _infer(self, state: dict[str, tf.Tensor], query_features: np.ndarray, jointly: bool) -> Any:
        infer = self._signatures["infer_jointly" if jointly else "infer"]
        return infer(**state, query_features=tf.constant(query_features))


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
