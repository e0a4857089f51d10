"""A classifier from a handful of images, in scikit-learn's manner."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from kfsl.classifier.class_labels import class_array, known_classes, label_list
from kfsl.classifier.image_inputs import ImageInputs
from kfsl.classifier.labelled_images import labelled_images
from kfsl.classifier.models import served_model
from kfsl.classifier.saved_classifier import SavedClassifier, read_classifier, write_classifier
from kfsl.classifier.sklearn_protocol import SklearnProtocol
from kfsl.classifier.support_checks import check_support_set
from kfsl.classifier.support_set import SupportSet
from kfsl.prediction.left_out import LeftOut
from kfsl.prediction.rejection import Rejection, fit_rejection
from kfsl.prediction.request_checks import check_rejection
from kfsl.prediction.served_learner import ServedLearner


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
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 30, 3)).astype("uint8")
    classifier = FewShotClassifier(Conv4(image_shape=(28, 28, 3), filters=8))
    classifier.fit(images, ["cat", "cat", "dog", "dog", "owl", "owl"])
    assert classifier.predict(images[:1]).tolist() == ["cat"]
    assert classifier.predict_proba(images).shape == (6, 3)
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

    def fit(self, images: Any, labels: Any = None) -> FewShotClassifier:
        """Learns a support set, and forgets any other.

        Args:
            images: str or path of a folder with one folder of images for each class; or paths,
                pictures of PIL or arrays, of any sizes and modes: `[n, h, w]`, `[n, h, w, C]` or a
                sequence of images.
            labels: sequence of hashable labels, one for each image; None for a folder.

        Returns:
            Itself.

        Raises:
            FileNotFoundError: if a folder or file is missing.
            TypeError: if a label is not hashable, or the model is nothing that can be used.
            ValueError: if an image cannot be read, or the support set does not fit the model.
        """
        served = served_model(self.model, self.head, self.image_size, self.steps)
        self._learn(served, SupportSet.empty(), *labelled_images(images, labels, least=2))
        return self

    def partial_fit(
        self, images: Any, labels: Any = None, classes: Iterable[Hashable] | None = None
    ) -> FewShotClassifier:
        """Adds images to the support set, of known classes or new ones.

        Args:
            images, labels: as in `fit`.
            classes: iterable of labels, or None. Accepted for scikit-learn's sake, at the first
                call; there is no need to know all classes at once, but each needs an image.

        Returns:
            Itself.

        Raises:
            FileNotFoundError, TypeError, ValueError: as in `fit`; the classifier stays as it was.
        """
        del classes
        if not self.is_fitted:
            return self.fit(images, labels)
        self._learn(self._served, self._support, *labelled_images(images, labels))
        return self

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
        self.check_fitted()
        if label in self._support.labels:
            raise ValueError(f"There is a class {label!r}: add images to it with `partial_fit`.")
        found = ImageInputs.of(images)
        labels = label_list([label] * len(found), len(found))
        self._learn(self._served, self._support, found, labels)
        return self

    # === Answering ===

    def predict(self, images: Any) -> np.ndarray:
        """The class of each image.

        Args:
            images: str or path of an image or of a folder, whose images are taken in the order of
                `image_names`; or paths, pictures or arrays, as in `fit`.

        Returns:
            Array, `[n]`, of `classes_`, or `none_label` where an image is of none of them.
        """
        answers = self.answers(images)
        likeliest = self.classes_[answers["probabilities"].argmax(axis=-1)]
        if self.none_label is None:
            return likeliest
        rejected = self.rejection_.rejected(answers["logits"])
        return class_array(
            self.none_label if none else label
            for none, label in zip(rejected, likeliest.tolist(), strict=True)
        )

    def predict_proba(self, images: Any) -> np.ndarray:
        """The probability of each class; honest ones if the model is calibrated.

        Args:
            images: as in `predict`.

        Returns:
            float32 array, `[n, classes]`, in the order of `classes_`. What an image would be if
            it had to be of one of them: `none_label` has no part in it.
        """
        return self.answers(images)["probabilities"]

    def answers(self, images: Any) -> dict[str, np.ndarray]:
        """All that the model says of images.

        Args:
            images: as in `predict`.

        Returns:
            dict of float32 arrays `[n, classes]`: `probabilities`, and `logits`.
        """
        self.check_fitted()
        found = images if isinstance(images, ImageInputs) else ImageInputs.of(images)
        values = self._support.joined_values(found.values())
        features = self._served.embed(found.pixels(self._served.image_shape, values))
        answers = self._served.infer(self._state, features, self.base_classes)
        # Where fewer classes than ways are allowed, the absent ones have no probability.
        return {name: told[:, : len(self.classes_)] for name, told in answers.items()}

    def score(self, images: Any, labels: Any = None) -> float:
        """Accuracy.

        Args:
            images, labels: as in `fit`; `none_label` is a label too.

        Returns:
            float, share of images that get their label.
        """
        found, labels = labelled_images(images, labels)
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
        self.check_fitted()
        if self._served.transductive:
            raise ValueError(
                "Leave-one-out says nothing of a transductive model, whose answers hang on which "
                "images are classified together. Hold images back and use `score`."
            )
        if self._left_out_now is None:
            features, labels = self._support.features, self._label_numbers()
            self._left_out_now = self._served.leave_one_out(features, labels)
        return self._left_out_now

    @property
    def rejection_(self) -> Rejection:
        """The score and threshold by which an image is of none of the classes.

        Raises:
            ValueError: if there is none: the model is not calibrated and the support set small.
        """
        self.check_fitted()
        served = self._served
        counts = self._support.counts().values()
        check_rejection(served.description, counts)
        left_out = None if served.transductive else self.evaluate_loo().logits
        validated = (served.description.get("calibration") or {}).get("rejection")
        return fit_rejection(validated, left_out)

    @staticmethod
    def image_names(images: Any) -> list[str]:
        """What the images are called, in the order of the predictions.

        Args:
            images: as in `predict`.

        Returns:
            list of str: of a folder, paths within it.
        """
        return list(ImageInputs.of(images).names)

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
        self.check_fitted()
        arguments = {name: getattr(self, name) for name in ("steps", "base_classes", "none_label")}
        saved = SavedClassifier(self._support, arguments)
        write_classifier(os.fspath(path), self._served, saved, self._state, self.classes_)

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
        classifier._take(saved.support)
        return classifier

    @property
    def transductive(self) -> bool:
        """Whether the images of one call influence each other."""
        return self._served.transductive

    # === What the three functions of a learner are asked ===

    @property
    def _served(self) -> ServedLearner:
        if getattr(self, "_served_now", None) is None:
            self._served_now = served_model(self.model, self.head, self.image_size, self.steps)
        return self._served_now

    @property
    def _state(self) -> dict[str, Any]:
        """What the support set taught, learnt once."""
        if self._state_now is None:
            self._state_now = self._served.adapt(self._support.features, self._label_numbers())
        return self._state_now

    def _learn(
        self,
        served: ServedLearner,
        support: SupportSet,
        images: ImageInputs,
        labels: list[Hashable],
    ) -> None:
        values = support.joined_values(images.values())
        arguments = self.base_classes, self.none_label
        check_support_set(served, support.labels + labels, *arguments)
        features = served.embed(images.pixels(served.image_shape, values))
        # Nothing can fail from here on: what is refused leaves the classifier as it was.
        self._served_now = served
        self._take(support.extended(features, labels, values))

    def _take(self, support: SupportSet) -> None:
        self._support = support
        self._own_classes = known_classes(support.labels)
        self._state_now = self._left_out_now = None
        self.classes_ = self._own_classes
        if self.base_classes:
            own = self._own_classes.tolist()
            base = self._served.trained_on["training_classes"]
            # A base class of the name of one of the support set's is another class.
            named = [f"{name} (trained)" if name in own else name for name in base]
            self.classes_ = class_array([*named, *own])

    def _label_numbers(self) -> np.ndarray:
        number = {label: place for place, label in enumerate(self._own_classes.tolist())}
        return np.array([number[label] for label in self._support.labels], "int32")
