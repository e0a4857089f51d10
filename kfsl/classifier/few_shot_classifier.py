"""A classifier from a handful of images, in scikit-learn's manner."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from kfsl.classifier.class_labels import class_array, label_list
from kfsl.classifier.image_inputs import ImageInputs
from kfsl.classifier.labelled_images import labelled_images
from kfsl.classifier.learnt_support import LearntSupport
from kfsl.classifier.models import served_again, served_model, weights_of
from kfsl.classifier.saved_classifier import read_classifier, write_classifier
from kfsl.classifier.sklearn_protocol import SklearnProtocol
from kfsl.classifier.support_checks import check_support_set
from kfsl.classifier.support_set import SupportSet
from kfsl.prediction.left_out import LeftOut
from kfsl.prediction.rejection import Rejection
from kfsl.prediction.served_learner import ServedLearner

#: Of the constructor.
ARGUMENTS = ("model", "head", "image_size", "steps", "base_classes", "none_label")


class FewShotClassifier(SklearnProtocol):
    """Classifies images from a few examples of each class; nothing is trained.

    Its model tells classes apart that it has never seen: `fit` shows it the support set, which
    takes a second, and `partial_fit` or `add_class` show it more, which takes less.

    It has scikit-learn's protocol, and does not need scikit-learn.

    Args:
        model: str, path or object. The folder of an exported model, or of a run (exported first,
            if it is not yet); the name or path of a pretrained network, see
            `kfsl.backbones.pretrained`; a `keras.Model` from images to features, which is frozen,
            and gets pixels as they are, 0 to 255, unless it is a backbone of kfsl; or a learner.
            Defaults to `"efficientnet_lite0"`, which comes with `kfsl[pretrained]`.
        head: str or None. What is made of a network's features: `"simple_shot"` (nearest
            centroid, of unit norm), `"logistic_regression"` or `"prototypical_network"`; None is
            the first. Other models have a head of their own.
        image_size: int, pair of ints, or None. Height and width that images are scaled to, where
            the model leaves it open. None: its own.
        steps: int or None. Gradient steps on the support set, where the model takes any number.
        base_classes: bool. Whether an image may also be of a class that the model was trained on,
            where it keeps those.
        none_label: hashable or None. What `predict` calls an image of none of the classes; None:
            every image is of one. Needs a calibrated model, or 19 images that can be left out.

    Attributes (after `fit`):
        classes_: array, `[classes]`. Sorted; those of the training come first, if they count.

    Reference:
        Wang et al., 2019, https://arxiv.org/abs/1911.04623; Tian et al., 2020,
        https://arxiv.org/abs/2003.11539: the heads.

    Example:
    ```python
    import numpy as np
    from kfsl import FewShotClassifier
    from kfsl.backbones import Conv4

    # Of noise, with a network that knows nothing; leave `model` out for one that does.
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3)).astype("uint8")
    classifier = FewShotClassifier(Conv4(image_shape=(28, 28, 3), filters=8))
    classifier.fit(images, ["cat", "dog", "owl"])
    assert classifier.predict(images[:1]).tolist() == ["cat"]
    assert classifier.predict_proba(images).shape == (3, 3)
    ```
    """

    def __init__(
        self,
        model: Any = "efficientnet_lite0",
        *,
        head: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        steps: int | None = None,
        base_classes: bool = False,
        none_label: Hashable = None,
    ) -> None:
        # As they are, unchecked: scikit-learn copies a classifier by its arguments.
        self.model = model
        self.head = head
        self.image_size = image_size
        self.steps = steps
        self.base_classes = base_classes
        self.none_label = none_label

    # === Learning ===

    def fit(self, X: Any, y: Any = None) -> FewShotClassifier:
        """Learns a support set, and forgets any other.

        Args:
            X: str or path of a folder with one folder of images for each class; or paths,
                pictures of PIL or arrays, of any sizes and modes: `[n, h, w]`, `[n, h, w, C]` or a
                sequence of images.
            y: sequence of hashable labels, one for each image; None for a folder.

        Returns:
            Itself.

        Raises:
            FileNotFoundError: if a folder or file is missing.
            TypeError: if a label is not hashable, or the model is nothing that can be used.
            ValueError: if an image cannot be read, or the support set does not fit the model.
        """
        served = served_model(self.model, self.head, self.image_size, self.steps)
        labelled = labelled_images(X, y, least=2)
        return self._learn(served, SupportSet.empty(), *labelled, self._arguments(served))

    def partial_fit(
        self, X: Any, y: Any = None, classes: Iterable[Hashable] | None = None
    ) -> FewShotClassifier:
        """Adds images to the support set, of known classes or new ones.

        Args:
            X, y: as in `fit`.
            classes: iterable of labels, or None. Accepted for scikit-learn's sake, at the first
                call; there is no need to know all classes at once, but each needs an image.

        Returns:
            Itself.

        Raises:
            FileNotFoundError, TypeError, ValueError: as in `fit`; the classifier stays as it was.
        """
        del classes
        if not self.is_fitted:
            return self.fit(X, y)
        served = self._learnt.served
        return self._learn(served, self._support, *labelled_images(X, y), self._used)

    def add_class(self, label: Hashable, images: Any) -> FewShotClassifier:
        """Adds a class that was not there.

        Args:
            label: hashable.
            images: its images; see `predict`.

        Returns:
            Itself.

        Raises:
            ValueError: if there is such a class; `partial_fit` adds images to it.
        """
        served = self._learnt.served
        if label in self._support.labels:
            raise ValueError(f"There is a class {label!r}: add images to it with `partial_fit`.")
        found = ImageInputs.of(images)
        labels = label_list([label] * len(found), len(found))
        return self._learn(served, self._support, found, labels, self._used)

    # === Answering ===

    def predict(self, X: Any) -> np.ndarray:
        """The class of each image.

        Args:
            X: str or path of an image or of a folder, whose images are taken in the order of
                `image_names`; or paths, pictures or arrays, as in `fit`.

        Returns:
            Array, `[n]`, of `classes_`, or `none_label` where an image is of none of them.
        """
        answers = self.answers(X)
        likeliest = self.classes_[answers["probabilities"].argmax(axis=-1)]
        none_label = self._used["none_label"]
        if none_label is None:
            return likeliest
        rejected = self._learnt.rejection.rejected(answers["logits"])
        return class_array(
            none_label if none else label
            for none, label in zip(rejected, likeliest.tolist(), strict=True)
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class; honest ones if the model is calibrated.

        Args:
            X: as in `predict`.

        Returns:
            float32 array, `[n, classes]`, in the order of `classes_`. What an image would be if
            it had to be of one of them: `none_label` has no part in it.
        """
        return self.answers(X)["probabilities"]

    def answers(self, X: Any) -> dict[str, np.ndarray]:
        """All that the model says of images.

        Args:
            X: as in `predict`.

        Returns:
            dict of float32 arrays `[n, classes]`: `probabilities`, and `logits`.
        """
        return self._learnt.answers(X if isinstance(X, ImageInputs) else ImageInputs.of(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Accuracy.

        Args:
            X, y: as in `fit`; `none_label` is a label too.

        Returns:
            float, share of images that get their label.
        """
        found, labels = labelled_images(X, y)
        predictions = self.predict(found).tolist()
        return float(np.mean([a == b for a, b in zip(predictions, labels, strict=True)]))

    def evaluate_loo(self) -> LeftOut:
        """How well the support set itself is told apart: each image by the others.

        The only image of a class cannot be left out; of many, 200 are tried.

        Returns:
            `LeftOut`: `accuracy`, `interval_95`, the `mistaken` images.

        Raises:
            ValueError: if the model is transductive: its answers hang on which images are
                classified together.
        """
        return self._learnt.left_out

    @property
    def rejection_(self) -> Rejection:
        """The score and threshold by which an image is of none of the classes.

        Raises:
            ValueError: if there is none: the model is not calibrated and the support set small.
        """
        return self._learnt.rejection

    @staticmethod
    def image_names(X: Any) -> list[str]:
        """What the images are called, in the order of the predictions.

        Args:
            X: as in `predict`.

        Returns:
            list of str: of a folder, paths within it.
        """
        return list(ImageInputs.of(X).names)

    # === Keeping ===

    def save(self, path: str | os.PathLike) -> None:
        """Writes the classifier as a SavedModel that needs neither kfsl nor Keras.

        Besides the signatures of an export it has `classify`: `images` -> `probabilities`. The
        folder has no pickles; an earlier one there is replaced as a whole.

        Args:
            path: str or path. The folder.

        Raises:
            TypeError: if a class is no text, number, boolean, None or tuple of these.
            ValueError: if the folder holds something else.
        """
        learnt = self._learnt
        arguments = {name: self._used[name] for name in ("steps", "base_classes", "none_label")}
        write_classifier(os.fspath(path), learnt, arguments)

    @classmethod
    def load(cls, path: str | os.PathLike) -> FewShotClassifier:
        """A classifier that `save` wrote.

        Args:
            path: str or path. The folder.

        Returns:
            `FewShotClassifier`, fitted, whose `model` is the folder.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no classifier, or is damaged.
        """
        saved = read_classifier(os.fspath(path))
        classifier = cls(os.fspath(path), **saved.arguments)
        served = served_model(classifier.model, steps=classifier.steps)
        learnt = LearntSupport(served, saved.support, classifier.base_classes)
        return classifier._keep(learnt, classifier._arguments(served))

    @property
    def transductive(self) -> bool:
        """Whether the images of one call influence each other."""
        return self._learnt.served.transductive

    # === What was learnt ===

    def _arguments(self, served: ServedLearner) -> dict[str, Any]:
        """Those above as they are now, whatever a subclass has, and which weights they mean."""
        weights = weights_of(self.model, served)
        return {**{name: getattr(self, name) for name in ARGUMENTS}, "weights": weights}

    @property
    def _learnt(self) -> LearntSupport:
        self.check_fitted()
        if self._learnt_now is None:
            # It was unpickled.
            served = served_again(self._used)
            self._learnt_now = LearntSupport(served, self._support, self._used["base_classes"])
        return self._learnt_now

    def _learn(
        self,
        served: ServedLearner,
        support: SupportSet,
        images: ImageInputs,
        labels: list[Hashable],
        arguments: dict[str, Any],
    ) -> FewShotClassifier:
        """Of the arguments that `fit` had: those that are changed later are for the next one."""
        values = support.joined_values(images.values())
        base_classes = arguments["base_classes"]
        check_support_set(served, support.labels + labels, base_classes, arguments["none_label"])
        features = served.embed(images.pixels(served.image_shape, values))
        support = support.extended(features, labels, values)
        return self._keep(LearntSupport(served, support, base_classes), arguments)

    def _keep(self, learnt: LearntSupport, arguments: dict[str, Any]) -> FewShotClassifier:
        """All at once: what was refused left the classifier as it was."""
        self._learnt_now, self._support, self.classes_ = learnt, learnt.support, learnt.classes
        self._used = arguments
        return self
