"""The model behind the page: what makes its classifiers, and what is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfsl.prediction.request_checks import check_shots, check_ways
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.classifier.few_shot_classifier import FewShotClassifier
    from kfsl.learners.base.learner import Learner
    from kfsl.prediction.served_learner import ServedLearner


@dataclasses.dataclass(frozen=True)
class DemoModel:
    """A model by which classifiers are made.

    Args:
        source: str or `keras.Model`. What `FewShotClassifier` takes.
        name: str. What the page calls it.
        served: `ServedLearner`. Its functions, for what is said and shown of it.
        learner: `Learner` or None. Of a run, for pictures that signatures cannot give.
    """

    source: Any
    name: str
    served: ServedLearner
    learner: Learner | None = None

    @classmethod
    def of_export(cls, saved_model: str, run: RunDirectory | None = None) -> DemoModel:
        """A model that was exported.

        Args:
            saved_model: str. Its folder.
            run: `RunDirectory` or None. The run that it is of.

        Returns:
            `DemoModel`, with the run's learner if there is a run.
        """
        from kfsl import configurables
        from kfsl.prediction.served_learner import ServedLearner

        learner = None if run is None else configurables.trained_experiment(run).learner
        name = saved_model if run is None else run.path
        return cls(saved_model, name, ServedLearner.load(saved_model), learner)

    @classmethod
    def of_network(cls, name: str) -> DemoModel:
        """A pretrained network, with the head that `FewShotClassifier` gives it.

        Args:
            name: str. See `kfsl.backbones.pretrained`.

        Returns:
            `DemoModel`.

        Raises:
            RuntimeError: if a package is missing.
            ValueError: if nothing is called so.
        """
        from kfsl.backbones import pretrained
        from kfsl.classifier.models import served_model

        try:
            network = pretrained(name)
        except ImportError as error:
            # Of a command it is no defect that a package is not installed.
            raise RuntimeError(str(error)) from error
        # Read once: each classifier takes the same network.
        return cls(network, name, served_model(network))

    def classifier(self) -> FewShotClassifier:
        """A classifier that has learnt nothing yet."""
        from kfsl.classifier import FewShotClassifier

        return FewShotClassifier(self.source)

    def pixels(self, files: Sequence[Path], among: Sequence[Path] = ()) -> np.ndarray:
        """Images as the model gets them.

        Args:
            files: sequence of `pathlib.Path`.
            among: sequence of `pathlib.Path`. Further images with which they are compared: those
                of more than 8 bits are scaled from one range.

        Returns:
            uint8 array, `[n, height, width, channels]`.

        Raises:
            ValueError: naming the first image that cannot be read.
        """
        from kfsl.classifier.image_inputs import ImageInputs

        values = ImageInputs.of([*files, *among]).values()
        return ImageInputs.of(list(files)).pixels(self.served.image_shape, values)

    def lacking(self, counts: Mapping[str, int]) -> str | None:
        """What classes lack before they can be learnt.

        Args:
            counts: mapping from classes to numbers of images.

        Returns:
            str, one sentence for people; None if nothing is missing, or there are too many.
        """
        found = {name: count for name, count in counts.items() if count}
        if len(found) < 2:
            has = f"only {next(iter(found))!r} has" if found else "no class has"
            return f"Two classes with images are the least, and {has} any so far."
        ways = self.served.description["ways"]["fixed"]
        try:
            if ways is not None and len(found) < ways:
                check_ways(self.served.description, len(found), "the page")
            check_shots(self.served.description, found)
        except ValueError as error:
            return str(error)
        return None
