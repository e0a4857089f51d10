"""The server in docs/serving.md, asked through a socket."""

import json
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from kfsl.episodes import EpisodeSpec
from kfsl.serving.export import export
from tests.support.contract import SERVED
from tests.support.exported_model import SHAPE, prototypical_network
from tests.support.serving_recipes import headings, recipes


@pytest.fixture(scope="module")
def learner():
    return prototypical_network()


@pytest.fixture(scope="module")
def address(learner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("http")
    export(learner, str(folder / "model"), image_shape=SHAPE)
    (script,) = recipes("Over HTTP")
    (folder / "serve.py").write_text(script, encoding="utf-8")
    server = subprocess.Popen(
        [sys.executable, "serve.py", "model", "0"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        line = server.stdout.readline()
        assert line.startswith("listening on port "), line
        yield f"http://127.0.0.1:{line.split()[-1]}"
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()


def episode():
    found = EpisodeSpec(3, 2, 2, SHAPE).random_episode(seed=3)[0]
    return {name: found[name][0].tolist() for name in SERVED}


def post(address, body):
    request = urllib.request.Request(address, body.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_it_answers_as_the_learner_does(address, learner):
    code, answer = post(address, json.dumps(episode()))
    assert code == 200
    asked = EpisodeSpec(3, 2, 2, SHAPE).random_episode(seed=3)[0]
    expected = tf.nn.softmax(learner(asked)["logits"])[0].numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"support_labels": [0, 0, 1, 1, 2, -1]}, "count from 0"),
        ({"query_images": [[[[0.5]]]]}, "whole numbers from 0 to 255"),
        ({"query_images": [[[[256]]]]}, "whole numbers from 0 to 255"),
        ({"query_images": None}, "whole numbers"),
    ],
)
def test_it_refuses_and_goes_on(address, changes, words):
    code, answer = post(address, json.dumps({**episode(), **changes}))
    assert code == 400
    assert words in answer["error"]
    assert post(address, "{")[0] == 400
    assert post(address, json.dumps(episode()))[0] == 200


def test_it_is_as_short_as_it_says():
    (script,) = recipes("Over HTTP")
    lines = [line for line in script.splitlines() if line.strip()]
    assert len(lines) <= 40


def test_every_recipe_is_run_by_some_test():
    # `SavedModel in Python` by test_export.py, `ONNX Runtime and LiteRT` by test_formats.py.
    assert headings() == {"SavedModel in Python", "Over HTTP", "ONNX Runtime and LiteRT"}
