"""Learners and their exports, made once for all tests of them."""

from pathlib import Path

import keras
import pytest

from kfsl.serving import export as serving
from tests.support.exported_model import SHAPE
from tests.support.formats import exported, made
from tests.support.one_step import OneStep


@pytest.fixture(scope="session")
def learner():
    return made("PrototypicalNetwork", scale=200.0)


@pytest.fixture(scope="session")
def folders(learner, tmp_path_factory):
    """Exports of one learner, made when they are asked for."""
    made_already = {}

    def folder(format_name) -> Path:
        if format_name not in made_already:
            made_already[format_name] = tmp_path_factory.mktemp("formats") / format_name
            exported(format_name, learner, made_already[format_name])
        return made_already[format_name]

    return folder


@pytest.fixture(scope="session")
def one_step():
    keras.utils.set_random_seed(1)
    return OneStep()


@pytest.fixture(scope="session")
def fast_weights(one_step, tmp_path_factory) -> str:
    """A SavedModel whose state is fast weights; nobody writes into it."""
    path = str(tmp_path_factory.mktemp("exports") / "model")
    serving.export(one_step, path, image_shape=SHAPE)
    return path
