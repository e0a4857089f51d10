"""What lies on the page: classes of images, what was learnt of them, and images to classify."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipelines.datasets.folder_listing import printable
from kfsl.demo.demo_model import DemoModel
from kfsl.demo.dropped_files import DroppedFiles
from kfsl.demo.dropped_images import DroppedImages
from kfsl.prediction.image_folders import SupportFiles
from kfsl.prediction.rejection import NONE, Rejection
from kfsl.prediction.table import PredictionTable

if TYPE_CHECKING:
    from kfsl.classifier.few_shot_classifier import FewShotClassifier
    from kfsl.prediction.left_out import LeftOut


class Workbench:
    """Classes into which images are dropped, learnt as soon as they can be.

    Whatever is refused leaves everything as it was.

    Args:
        model: `DemoModel`.

    Attributes:
        images: dict from names of classes to lists of files, in the order in which the classes
            were made.
        support: `DroppedFiles`, what was learnt; None as long as something is missing.
        queries: `DroppedImages`, what is to be classified; none at first.
        version: int. Rises whenever `images` changes.

    Example:
    ```python
    import tempfile
    from pathlib import Path
    from PIL import Image
    from kfsl.backbones.conv4 import Conv4
    from kfsl.demo.demo_model import DemoModel
    from kfsl.demo.workbench import Workbench
    from kfsl.learners.simple_shot import SimpleShot
    from kfsl.prediction.served_learner import ServedLearner

    learner = SimpleShot(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=1))
    served = ServedLearner.of(learner, (8, 8, 1))
    bench = Workbench(DemoModel(learner, "a network that knows nothing", served))
    with tempfile.TemporaryDirectory() as folder:
        for spread, name in ((9, "calm"), (99, "wild")):
            Image.effect_noise((8, 8), spread).save(Path(folder) / f"{name}.png")
            bench.add_class(name)
            bench.add_images(name, [Path(folder) / f"{name}.png"])
        bench.ask([Path(folder) / "calm.png"])
        assert bench.table().predictions == ["calm"]
    ```
    """

    def __init__(self, model: DemoModel) -> None:
        self.model = model
        self.images: dict[str, list[Path]] = {}
        self.support: DroppedFiles | None = None
        self.queries = DroppedImages(Path(), ())
        self.version = 0
        self._classifier: FewShotClassifier | None = None
        self._pixels: dict[Path, np.ndarray] = {}

    # === What a user does ===

    def start_with(self, support: SupportFiles) -> None:
        """Takes the classes of a folder.

        Args:
            support: `SupportFiles`.

        Raises:
            ValueError: if an image cannot be read, or the model does not take these classes.
        """
        images: dict[str, list[Path]] = {name: [] for name in support.classes}
        for file, label in zip(support.files, support.labels, strict=True):
            images[support.classes[label]].append(file)
        for name in images:
            _check_name(name)
        self._read(support.files)
        self._change(images)

    def add_class(self, name: str) -> None:
        """Makes a class without images.

        Args:
            name: str.

        Raises:
            ValueError: if it is no name for a class, or there is one of that name.
        """
        name = printable(" ".join(name.split()))
        _check_name(name)
        if name in self.images:
            raise ValueError(f"There is a class {name!r} already: drop its images there.")
        self._change({**self.images, name: []})

    def remove_class(self, name: str) -> None:
        """Forgets a class and its images."""
        self._change({other: files for other, files in self.images.items() if other != name})

    def add_images(self, name: str, files: Sequence[str | Path]) -> None:
        """Drops images into a class.

        Args:
            name: str. Of a class that there is.
            files: sequence of paths.

        Raises:
            ValueError: if one cannot be read, or the model does not take so many classes.
        """
        added = [Path(file) for file in files]
        files = self._files(name)
        self._read(added)
        self._change({**self.images, name: [*files, *added]}, (name, added))

    def remove_image(self, name: str, chosen: Path | None) -> None:
        """Takes one image out of a class.

        Args:
            name: str.
            chosen: `pathlib.Path` or None. Its file.

        Raises:
            ValueError: if none was chosen, or it is no longer there.
        """
        if chosen is None:
            raise ValueError("No image was chosen: click one first.")
        files = self._files(name)
        if chosen not in files:
            raise ValueError(f"That image is no longer in {name!r}: another window took it out.")
        place = files.index(chosen)
        self._change({**self.images, name: [*files[:place], *files[place + 1 :]]})

    def ask(self, files: Sequence[str | Path]) -> None:
        """Takes images to classify in the place of those that were there.

        Args:
            files: sequence of paths.

        Raises:
            ValueError: if one cannot be read, or nothing is learnt yet.
        """
        asked = tuple(Path(file) for file in files)
        if self._classifier is None:
            raise ValueError(f"Nothing can be classified yet: {self.lacking}")
        self._read(asked)
        # Asked once before they are taken: what cannot be compared is refused here.
        self._classifier.answers(list(asked))
        self.queries = DroppedImages(Path(), asked)
        self._forget()

    # === What is said of it ===

    @property
    def lacking(self) -> str | None:
        """What is missing before the classes can be learnt; None if nothing is."""
        return self.model.lacking({name: len(files) for name, files in self.images.items()})

    def pixels(self, files: Sequence[Path]) -> list[np.ndarray]:
        """Images that were dropped, as the model sees them, to be shown."""
        return [self._pixels[file] for file in files]

    def left_out(self) -> LeftOut | None:
        """What leaving out each image in turn finds; None where nothing can be said of that."""
        if self._classifier is None or self._classifier.transductive:
            return None
        return self._classifier.evaluate_loo()

    def rejection(self) -> Rejection:
        """Where the line to none of the classes is.

        Raises:
            ValueError: if there is none, saying why.
        """
        if self._classifier is None:
            raise ValueError(f"Nothing is learnt yet: {self.lacking}")
        return self._classifier.rejection_

    def table(self, none_of_these: bool = False) -> PredictionTable | None:
        """Probabilities of the classes for each query.

        Args:
            none_of_these: bool. Whether queries may be of none of the classes, where the line
                to those is known.

        Returns:
            `PredictionTable`, or None where nothing was learnt or asked.
        """
        if self._classifier is None or not self.queries.files:
            return None
        answers = self._classifier.answers(list(self.queries.files))
        table = PredictionTable(
            self.queries.names, self._classifier.classes_.tolist(), answers["probabilities"]
        )
        if not none_of_these:
            return table
        try:
            rejection = self.rejection()
        except ValueError:
            return table
        logits = answers["logits"]
        return dataclasses.replace(
            table, scores=rejection.scores(logits), rejected=rejection.rejected(logits)
        )

    # === How it changes ===

    def _files(self, name: str) -> list[Path]:
        """The images of a class, which another window may have removed."""
        if name not in self.images:
            raise ValueError(f"There is no class {name!r} any more: another window removed it.")
        return self.images[name]

    def _read(self, files: Sequence[Path]) -> None:
        """Reads images before anything changes, so that a broken one is refused at once."""
        if not files:
            raise ValueError("No image was dropped.")
        try:
            read = self.model.pixels(files)
        except ValueError as error:
            message = str(error)
            for file in files:
                # Where the browser's files are kept tells nobody anything.
                message = message.replace(str(file), file.name)
            raise ValueError(message) from error
        self._pixels.update(zip(files, read, strict=True))

    def _change(
        self,
        images: Mapping[str, list[Path]],
        added: tuple[str, list[Path]] | None = None,
    ) -> None:
        """Learns the classes anew, or what was added to them."""
        counts = {name: len(files) for name, files in images.items()}
        files = [(file, name) for name, inside in images.items() for file in inside]
        if self.model.lacking(counts) is not None:
            self._classifier = self.support = None
        elif self._classifier is None or added is None:
            if self.support is None or sorted(files) != sorted(self._pairs()):
                classifier = self.model.classifier()
                classifier.fit([file for file, _ in files], [name for _, name in files])
                self._keep(classifier, files)
        else:
            self._add(*added)
        self.images = dict(images)
        self._forget()
        self.version += 1

    def _forget(self) -> None:
        """Lets go of the pixels of images that are no longer on the page."""
        there = {*self.queries.files, *(file for files in self.images.values() for file in files)}
        self._pixels = {file: self._pixels[file] for file in there}

    def _add(self, name: str, added: list[Path]) -> None:
        # A copy learns them: what is there is asked until the copy takes its place as a whole.
        classifier = copy_of(self._classifier)
        if name in self.support.classes:
            classifier.partial_fit(added, [name] * len(added))
        else:
            classifier.add_class(name, added)
        self._keep(classifier, [*self._pairs(), *((file, name) for file in added)])

    def _keep(self, classifier: FewShotClassifier, pairs: Sequence[tuple[Path, str]]) -> None:
        if self.queries.files:
            # What the images on the page cannot be compared with is refused here.
            classifier.answers(list(self.queries.files))
        self._classifier = classifier
        self.support = DroppedFiles.of([file for file, _ in pairs], [name for _, name in pairs])

    def _pairs(self) -> list[tuple[Path, str]]:
        support = self.support
        names = (support.classes[label] for label in support.labels)
        return list(zip(support.files, names, strict=True))


def copy_of(classifier: FewShotClassifier) -> FewShotClassifier:
    """Another classifier of the same model, which has learnt the same; it is not loaded again."""
    copy = object.__new__(type(classifier))
    vars(copy).update(vars(classifier))
    return copy


def _check_name(name: str) -> None:
    if not name:
        raise ValueError("A class needs a name: write one beside the button.")
    if name == NONE:
        raise ValueError(
            f"A class cannot be called {NONE!r}: so the page calls images of no class. Choose "
            "another name."
        )
