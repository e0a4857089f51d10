"""An exported learner, a support set of drawings and queries, for all tests of classifiers."""

import numpy as np
import pytest

from kfsl import FewShotClassifier
from kfsl.serving.export import export
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    draw,
    prototypical_network,
    write_folder,
    write_queries,
)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    training_data = {"training_classes": ["fly"]}
    export(prototypical_network(SHAPE), path, image_shape=SHAPE, training_data=training_data)
    return path


@pytest.fixture(scope="session")
def support(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "support", CLASSES)


@pytest.fixture(scope="session")
def queries(tmp_path_factory):
    return write_queries(tmp_path_factory.mktemp("images") / "queries")


@pytest.fixture(scope="session")
def drawings():
    """Images of `CLASSES`, `[9, 32, 32]` grey, and the name of each one's class."""
    images = [draw(*drawing) for drawings in CLASSES.values() for drawing in drawings]
    names = [name for name, drawings in CLASSES.items() for _ in drawings]
    return np.stack([np.asarray(image) for image in images]), names


@pytest.fixture
def fitted(model, support):
    return FewShotClassifier(model).fit(support)
