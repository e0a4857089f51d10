"""The audit of second derivatives: as functions, and once as a process."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from kfsl.analysis import second_order_report as report
from kfsl.analysis.analysis_request import AnalysisRequest
from kfsl.analysis.second_order import TOLERANCE, audit, second_order_error
from kfsl.analyze import analyze
from kfsl.gradients import exact
from tests.refusals import CHECKOUT, refusal


def model_with(*stack, shape=(6, 6, 2)):
    return keras.Sequential([keras.Input(shape), *stack])


def verdicts(model):
    return {layer.name: layer.verdict for layer in audit(model)}


def stock():
    inner = model_with(layers.LayerNormalization(name="ln"), shape=(6, 6, 3))
    inner.name = "inner"
    return model_with(
        layers.Conv2D(3, 3, padding="same", name="conv"),
        layers.BatchNormalization(name="bn"),
        inner,
        layers.Dense(2, activation="softsign", name="head"),
    )


def test_names_the_layers_at_fault():
    audits = audit(stock())
    assert {layer.name: layer.verdict for layer in audits} == {
        "conv": "exact",
        "bn": "wrong",
        "inner/ln": "wrong",
        "head": "none",
    }
    errors = {layer.name: layer.error for layer in audits}
    assert errors["conv"] < 1e-6
    assert errors["bn"] > 0.1 < errors["inner/ln"]
    assert errors["head"] is None
    line = report.conclusion(audits)
    assert "bn, inner/ln: convert the model with kfsl.gradients.exact(model)" in line
    assert "head: use another activation" in line
    assert "\n" not in line
    table = report.table(audits).splitlines()
    assert len(table) == 5
    assert table[2].split()[:2] == ["bn", "BatchNormalization"]


def test_a_converted_model_passes():
    stack = [layers.Conv2D(3, 3), layers.BatchNormalization(), layers.GroupNormalization(3)]
    audits = audit(exact(model_with(*stack)))
    assert [layer.verdict for layer in audits] == ["exact"] * 3
    assert report.conclusion(audits) == "No layer has a wrong second derivative."


def test_the_fault_of_many_pixels_is_found_too():
    """One term of rank one a channel, which noise alone would hardly feel."""
    maps = np.random.default_rng(0).normal(size=(4, 40, 40, 4))
    layer = layers.BatchNormalization(dtype="float64")
    layer.build(maps.shape)
    assert second_order_error(layer, maps) > 0.1


def test_operations_and_frozen_layers():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(2, 3, name="conv")(layers.Resizing(8, 8, name="first")(inputs))
    x = layers.BatchNormalization(trainable=False, name="frozen")(x)
    x = layers.Resizing(4, 4, name="later")(ops.softplus(x) + x)
    found = verdicts(keras.Model(inputs, x))
    assert found["first"] == found["conv"] == found["softplus"] == found["add"] == "exact"
    assert found["frozen"] == found["later"] == "wrong"


def test_a_kernel_that_is_lacking_is_told():
    (found,) = audit(model_with(layers.MaxPooling3D(2, name="pool"), shape=(4, 4, 4, 1)))
    assert found.verdict == "not audited"
    assert report.conclusion([found]).endswith("Not audited: pool.")


def test_a_model_without_graph():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed(name="own")
    model(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="'own' is not functional or sequential"):
        audit(model)


def test_analysis_of_a_file(tmp_path):
    path = str(tmp_path / "user.keras")
    model_with(layers.Dense(3), layers.LayerNormalization(name="ln"), shape=(4,)).save(path)
    files = analyze("second_order", AnalysisRequest(None, model=path))
    assert files == [str(tmp_path / f"user.second_order.{kind}") for kind in ("png", "json")]
    with open(files[1], encoding="utf-8") as file:
        values = json.load(file)
    assert values["model"] == path
    assert values["at_fault"] == ["ln"]
    assert values["tolerance"] == TOLERANCE
    assert values["layers"][1]["error"] > TOLERANCE > values["layers"][0]["error"]


def test_analysis_as_a_process(tmp_path):
    model_with(layers.Dense(3), layers.BatchNormalization(name="bn"), shape=(4,)).save(
        tmp_path / "user.keras"
    )
    command = ["-m", "kfsl.analyze", "--analysis=second_order", "--model=user.keras"]
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    result = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("Wrong second derivatives: bn: convert the model")
    assert os.path.isfile(tmp_path / "user.second_order.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analysis=second_order", "--model=lost.keras"], "'lost.keras' is not a .keras file"),
        (["--analysis=second_order"], "--run_dir is missing"),
        (["--analysis=episode", "--model=m.keras"], "--model is for --analysis=second_order"),
        (
            ["--analysis=second_order", "--model=m.keras", "--run_dir=run"],
            "--run_dir has no place here",
        ),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    assert message in refusal(tmp_path, "kfsl.analyze", *arguments)
