"""A served learner: models that are damaged, and images that are no raw pixels."""

import os
import shutil

import numpy as np
import pytest

from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import find_support
from kfsl.prediction.served_learner import ServedLearner
from kfsl.serving.export import export
from tests.support.exported_model import SHAPE, draw, prototypical_network, write_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    export(prototypical_network(SHAPE), path, image_shape=SHAPE)
    return path


@pytest.fixture
def model(whole, tmp_path):
    return shutil.copytree(whole, str(tmp_path / "model"))


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
)
def test_a_cut_model_is_named(model, name, part):
    file = os.path.join(model, name)
    os.truncate(file, int(os.path.getsize(file) * part))
    with pytest.raises(ValueError, match=rf"{model}' is damaged .*export again") as refused:
        ServedLearner.load(model)
    assert "\n" not in str(refused.value)


def test_classes_come_in_the_order_of_the_names_that_are_shown(tmp_path):
    # As bytes the second comes first; its name that is shown begins with a backslash.
    for name in (b"a", b"\xe9"):
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        draw(0, 0).save(os.path.join(os.fsdecode(folder), "1.png"))
    classes = find_support(str(tmp_path)).classes
    assert list(classes) == sorted(classes)


def test_cut_classes_are_named(model, tmp_path):
    with open(os.path.join(model, "classes.json"), "w", encoding="utf-8") as file:
        file.write('{"dataset": ')
    folder = write_folder(tmp_path / "support", {"ant": [(0, 0)], "bee": [(1, 0)]})
    with pytest.raises(ValueError, match=r"classes\.json' is damaged .*export again"):
        predict_folders(model, folder, folder)


def test_floats_are_no_pixels(whole):
    images = np.random.default_rng(0).random((2, *SHAPE))
    with pytest.raises(ValueError, match="uint8 from 0 to 255; received float64"):
        ServedLearner.load(whole).embed(images)
