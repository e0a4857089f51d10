"""Exports in the formats that run without TensorFlow, made once for all tests of them."""

from pathlib import Path

import pytest

from tests.support.formats import exported, made


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
