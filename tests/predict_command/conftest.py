"""What a user of `kfsl.predict` has: a model, a support set, queries."""

from pathlib import Path

import pytest

from kfsl.serving.export import export
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    prototypical_network,
    write_folder,
    write_queries,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    trained_on = {"dataset": "patterns", "mean_pixel": 120.0}
    learner = prototypical_network(SHAPE)
    export(learner, path, image_shape=SHAPE, training_data=trained_on)
    return path


@pytest.fixture(scope="module")
def support(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "support", CLASSES)


@pytest.fixture
def queries(tmp_path):
    return write_queries(tmp_path / "queries")


@pytest.fixture
def damaged(tmp_path):
    folder = Path(write_folder(tmp_path / "damaged", CLASSES))
    (folder / "bee" / "1.png").write_bytes((folder / "bee" / "0.png").read_bytes()[:80])
    return str(folder)
