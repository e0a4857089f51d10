"""The audit of second derivatives: as functions, and once as a process."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from kfsl.analysis.request import AnalysisRequest
from kfsl.analysis.second_order import report
from kfsl.analysis.second_order.audit import audit
from kfsl.analysis.second_order.error import TOLERANCE, second_order_error
from kfsl.analyze import analyze
from kfsl.backbones.conv4 import Conv4
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.networks.exact_layers import exact
from tests.support import gradient_runs, letters
from tests.support.refusals import CHECKOUT, refusal


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
    assert "bn, inner/ln: convert the model with kfsl.networks.exact(model)" in line
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


@pytest.fixture
def floats64():
    floatx = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(floatx)


@pytest.mark.usefixtures("floats64")
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_whole_network_as_one_layer(use_bias):
    """Kinks, and biases whose second derivatives are zero and all rounding."""

    def error(normalization):
        keras.utils.set_random_seed(0)
        arguments = {"normalization": normalization, "use_bias": use_bias, "dtype": "float64"}
        backbone = Conv4(image_shape=(28, 28, 1), filters=4, **arguments)
        return second_order_error(backbone, np.random.default_rng(0).normal(size=(4, 28, 28, 1)))

    assert error("exact") < 0.01 * TOLERANCE
    assert error("stock") > 0.1


@keras.saving.register_keras_serializable(package="tests")
class Composite(layers.Layer):
    """A user's block: its code calls a network, and its zeros lie on the ReLU's kink."""

    def __init__(self, normalization, **kwargs):
        super().__init__(**kwargs)
        self.normalization = normalization
        self.network = Conv4((12, 12, 3), 3, num_pools=2, normalization=normalization)
        self.padding, self.convolution = layers.ZeroPadding2D(2), layers.Conv2D(3, 3)

    def call(self, inputs, training=None):
        x = ops.relu(self.convolution(self.padding(inputs)))
        return self.network(x, training=training)

    def get_config(self):
        return {**super().get_config(), "normalization": self.normalization}


def test_blocks_of_a_users_own():
    stack = [Composite("exact", name="right"), layers.UpSampling2D(4), layers.Cropping2D(1)]
    found = audit(model_with(*stack, Composite("stock", name="fault"), shape=(10, 10, 1)))
    errors = {layer.name: layer.error for layer in found}
    assert errors["right"] < 0.01 * TOLERANCE
    assert errors["fault"] > 0.1
    assert [layer.name for layer in found if layer.at_fault] == ["fault"]


def test_a_kink_at_the_point_is_no_verdict():
    layer = layers.ReLU(dtype="float64")
    with pytest.raises(ArithmeticError, match="do not settle"):
        second_order_error(layer, np.zeros((2, 3)))


def test_inputs_of_less_than_float64_are_refused():
    model = Conv4(image_shape=(8, 8, 1), filters=2, num_pools=1, dtype="float64")
    with pytest.raises(ValueError, match=r"'images' \(InputLayer\).*dtype float32.*set_floatx"):
        second_order_error(model, np.zeros((2, 8, 8, 1)))


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
    files = analyze("second_order", AnalysisRequest(None), model=path)
    assert files == [str(tmp_path / f"user.second_order.{kind}") for kind in ("png", "json")]
    with open(files[1], encoding="utf-8") as file:
        values = json.load(file)
    assert values["model"] == path
    assert values["at_fault"] == ["ln"]
    assert values["tolerance"] == TOLERANCE
    assert values["layers"][1]["error"] > TOLERANCE > values["layers"][0]["error"]


def test_analysis_of_a_run(tmp_path):
    store = str(tmp_path / "letters")
    letters.write_letters(store)
    run = gradient_runs.maml_run(str(tmp_path / "run"), store)
    files = analyze("second_order", AnalysisRequest(run))
    assert files[1] == os.path.join(run.path, "analysis", "second_order.json")
    with open(files[1], encoding="utf-8") as file:
        values = json.load(file)
    assert values["run"] == run.path
    assert values["at_fault"] == []
    assert [layer["kind"] for layer in values["layers"]] == ["Conv2D", "Flatten", "Dense"]
    assert all(layer["verdict"] == "exact" for layer in values["layers"])


def test_analysis_as_a_process(tmp_path):
    model_with(layers.Dense(3), layers.BatchNormalization(name="bn"), shape=(4,)).save(
        tmp_path / "user.keras"
    )
    command = ["-m", "kfsl.analyze", "--analysis=second_order", "--model=user.keras"]
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    # Started as a user starts it: what TensorFlow says at its import would show.
    result = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert last.startswith("Wrong second derivatives: bn: convert the model")
    assert os.path.isfile(tmp_path / "user.second_order.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analysis=second_order", "--model=lost.keras"], "'lost.keras' is not a .keras file"),
        (["--analysis=second_order"], "--run_dir is missing"),
        (["--analysis=attention", "--model=m.keras"], "--model is for --analysis=second_order"),
        (
            ["--analysis=second_order", "--model=m.keras", "--run_dir=run"],
            "--run_dir has no place here",
        ),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    assert message in refusal(tmp_path, "kfsl.analyze", *arguments)


@pytest.mark.parametrize("change", letters.DAMAGES)
def test_a_damaged_model_is_told(tmp_path, change):
    path = tmp_path / "model.keras"
    model_with(layers.Dense(3), shape=(4,)).save(path)
    path.write_bytes(letters.DAMAGES[change](path.read_bytes()))
    with pytest.raises(ValueError, match=rf"^{path} is damaged "):
        report.audited_model(AnalysisRequest(None), str(path))


def test_a_model_that_takes_pixels_is_audited():
    images = keras.Input((4, 4, 1))
    model = keras.Model(images, keras.layers.Conv2D(2, 3)(PixelNormalization()(images)))
    audits = audit(model)
    assert len(audits) == 2
    assert not any(layer.at_fault for layer in audits)
