"""The multilayer perceptron: its numbers of weights and its formula."""

import keras
import numpy as np
import pytest

from kfsl.backbones.mlp import MLP


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"image_shape": (2,), "outputs": 3}, 66_819),
        # CAVIA: a context of 128 numbers joins the two coordinates.
        ({"image_shape": (2 + 128,), "outputs": 3}, 83_203),
        # The mean of the policy; two log standard deviations make 10,604.
        ({"image_shape": (2,), "hidden": (100, 100), "outputs": 2}, 10_604 - 2),
        ({"image_shape": (1,), "hidden": (40, 40), "outputs": 1}, 1_761),
    ],
    ids=["regression", "with context", "policy", "sine"],
)
def test_parameter_count(arguments, parameters):
    assert MLP(**arguments).count_params() == parameters


def test_its_formula():
    mlp = MLP((2, 3, 1), hidden=(4, 5), outputs=2)
    for weight in mlp.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    images = np.random.default_rng(1).normal(size=(7, 2, 3, 1)).astype("float32")
    w1, b1, w2, b2, w3, b3 = mlp.get_weights()
    hidden = np.maximum(images.reshape(7, 6) @ w1 + b1, 0)
    expected = np.maximum(hidden @ w2 + b2, 0) @ w3 + b3
    np.testing.assert_allclose(mlp(images), expected, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded(tmp_path):
    mlp = MLP((3,), hidden=(4,), activation="tanh", dtype="mixed_bfloat16", name="values")
    assert mlp.output_shape == (None, 4)
    mlp.save(tmp_path / "mlp.keras")
    loaded = keras.saving.load_model(tmp_path / "mlp.keras")
    assert type(loaded) is MLP
    assert loaded.get_config() == mlp.get_config()
    numbers = np.ones((2, 3), "float32")
    assert loaded(numbers).dtype == "bfloat16"
    np.testing.assert_array_equal(loaded(numbers), mlp(numbers))


def test_wrong_arguments():
    for arguments in ({"hidden": ()}, {"hidden": (4, 0)}, {"outputs": 0}):
        with pytest.raises(ValueError, match="Layers need positive units"):
            MLP(**arguments)
    with pytest.raises(ValueError, match="image_shape must have positive sizes"):
        MLP((None, None, 3))
