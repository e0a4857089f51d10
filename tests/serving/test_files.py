"""What lies beside a served graph: read as editors leave it, and named where it is damaged."""

import json
import os

import pytest

from kfsl.serving.files import (
    CLASSES_FILE,
    GRAPH_FILE,
    MODEL_FILE,
    read_description,
    read_training_data,
)

DESCRIPTION = {
    "format_version": 1,
    "learner": "MAML",
    "transductive": False,
    "image": {"trained_shape": [8, 8, 1]},
    "ways": {"fixed": None, "fewer": True},
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / GRAPH_FILE).write_bytes(b"graph")
    write(tmp_path / MODEL_FILE, json.dumps(DESCRIPTION))
    return tmp_path


def write(file, text, encoding="utf-8"):
    file.write_text(text, encoding=encoding)


def test_a_byte_order_mark_is_no_part_of_it(model):
    write(model / MODEL_FILE, json.dumps(DESCRIPTION), "utf-8-sig")
    assert read_description(str(model)) == DESCRIPTION
    write(model / CLASSES_FILE, '{"dataset": "é"}', "utf-8-sig")
    assert read_training_data(str(model)) == {"dataset": "é"}


WITHOUT_WAYS = {key: value for key, value in DESCRIPTION.items() if key != "ways"}


@pytest.mark.parametrize(
    "text", ["", json.dumps(DESCRIPTION)[:40], "[1]", "null", "{}", json.dumps(WITHOUT_WAYS)]
)
def test_a_cut_description_is_named(model, text):
    write(model / MODEL_FILE, text)
    with pytest.raises(ValueError, match=rf"{model / MODEL_FILE}' is damaged .*export again"):
        read_description(str(model))


def test_bytes_that_are_no_text_are_named(model):
    (model / MODEL_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=rf"{model / MODEL_FILE}' is damaged"):
        read_description(str(model))


def test_descriptions_of_earlier_releases_are_read(model):
    # They say neither which weights they hold nor how many steps they take.
    assert "weights" not in read_description(os.fspath(model))
