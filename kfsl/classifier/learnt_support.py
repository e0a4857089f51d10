"""A support set that a model has learnt, and what it then answers."""

import functools

import numpy as np

from kfsl.classifier.class_labels import known_classes, label_numbers, with_base_classes
from kfsl.classifier.image_inputs import ImageInputs
from kfsl.classifier.support_set import SupportSet
from kfsl.prediction.left_out import LeftOut
from kfsl.prediction.rejection import Rejection, fit_rejection
from kfsl.prediction.request_checks import check_rejection
from kfsl.prediction.served_learner import BATCH, ServedLearner


class LearntSupport:
    """What `adapt` made of a support set, for any number of questions.

    Args:
        served: `ServedLearner`.
        support: `SupportSet`, checked.
        base_classes: bool. Whether images may be of classes of the training too.

    Example:
    ```python
    import numpy as np
    from data_pipelines.datasets.value_range import ValueRange
    from kfsl.backbones import Conv4
    from kfsl.classifier.image_inputs import ImageInputs
    from kfsl.classifier.learnt_support import LearntSupport
    from kfsl.classifier.support_set import SupportSet
    from kfsl.learners import SimpleShot
    from kfsl.prediction.served_learner import BATCH, ServedLearner

    served = ServedLearner.of(SimpleShot(Conv4(image_shape=(28, 28, 1), filters=8)), (28, 28, 1))
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1)).astype("uint8")
    support = SupportSet(served.embed(images), ["a", "a", "b", "b"], ValueRange())
    answers = LearntSupport(served, support).answers(ImageInputs.of(images))
    assert answers["probabilities"].shape == (4, 2)
    ```
    """

    def __init__(
        self, served: ServedLearner, support: SupportSet, base_classes: bool = False
    ) -> None:
        own = known_classes(support.labels)
        self.served = served
        self.support = support
        self.jointly = base_classes
        self.classes = own
        if base_classes:
            self.classes = with_base_classes(own, served.trained_on["training_classes"])
        self.numbers = label_numbers(support.labels, own)
        self.state = served.adapt(support.features, self.numbers)

    def answers(self, images: ImageInputs) -> dict[str, np.ndarray]:
        """All that the model says of images.

        Args:
            images: `ImageInputs`.

        Returns:
            dict of float32 arrays `[n, classes]`: `probabilities`, and `logits`.

        Raises:
            ValueError: an image cannot be read, or not be compared with the support set's.
        """
        values = self.support.joined_values(images.values())
        shape = self.served.image_shape
        features = np.concatenate(
            [self.served.embed(part.pixels(shape, values)) for part in images.parts(BATCH)]
        )
        answers = self.served.infer(self.state, features, self.jointly)
        # Where fewer classes than ways are allowed, the absent ones have no probability.
        return {name: told[:, : len(self.classes)] for name, told in answers.items()}

    @functools.cached_property
    def left_out(self) -> LeftOut:
        """What the model says of each support image that it was not shown.

        Raises:
            ValueError: if it is transductive.
        """
        if self.served.transductive:
            raise ValueError(
                "Leave-one-out says nothing of a transductive model, whose answers hang on which "
                "images are classified together. Hold images back and use `score`."
            )
        return self.served.leave_one_out(self.support.features, self.numbers)

    @functools.cached_property
    def rejection(self) -> Rejection:
        """The score and threshold by which an image is of none of the classes.

        Raises:
            ValueError: if there is none: the model is not calibrated and the support set small.
        """
        served = self.served
        check_rejection(served.description, self.support.counts().values(), served.steps)
        left_out = None if served.transductive else self.left_out.logits
        return fit_rejection((served.calibration or {}).get("rejection"), left_out)
