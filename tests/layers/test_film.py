"""FiLM: the three papers' formulas, shapes, and what it refuses."""

import keras
import numpy as np
import pytest

from kfsl.layers.film import FiLM

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(4, 3, 2, 5)).astype("float32")
GAMMA, BETA = RNG.normal(size=(2, 4, 5)).astype("float32")


def per_image(values):
    return values[:, None, None, :]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, per_image(GAMMA) * MAPS + per_image(BETA)),
        ({"around_one": True}, (1 + per_image(GAMMA)) * MAPS + per_image(BETA)),
        (
            {"around_one": True, "learned_scales": True},
            (1 + 0.5 * per_image(GAMMA)) * MAPS - 2 * per_image(BETA),
        ),
    ],
    ids=["CAVIA", "MMAML", "Cross-Modulation"],
)
def test_the_papers_formulas(arguments, expected):
    film = FiLM(**arguments)
    film(MAPS, GAMMA, BETA)
    if film.learned_scales:
        assert np.all(film.gamma_scale == 1)
        assert np.all(film.beta_scale == 1)
        film.set_weights([np.full(5, 0.5), np.full(5, -2.0)])
    np.testing.assert_allclose(film(MAPS, GAMMA, BETA), expected, rtol=1e-5, atol=1e-6)
    assert len(film.weights) == 2 * film.learned_scales


@pytest.mark.parametrize("take", [lambda v: v[0], lambda v: v[:1]], ids=["[C]", "[1, C]"])
def test_one_modulation_for_all_images(take):
    expected = GAMMA[0] * MAPS + BETA[0]
    np.testing.assert_allclose(FiLM()(MAPS, take(GAMMA), take(BETA)), expected, rtol=1e-6)


def test_vectors():
    vectors = MAPS[:, 0, 0]
    np.testing.assert_allclose(FiLM()(vectors, GAMMA, BETA), GAMMA * vectors + BETA, rtol=1e-6)


def test_the_scales_can_be_regularised():
    film = FiLM(True, True, scale_regularizer=keras.regularizers.L1(1e-3))
    film(MAPS, GAMMA, BETA)
    assert float(sum(film.losses)) == pytest.approx(1e-3 * 10)


def test_config_round_trip_and_half_precision():
    film = FiLM(True, True, scale_regularizer="l1", dtype="mixed_bfloat16", name="film")
    copy = FiLM.from_config(film.get_config())
    assert copy.get_config() == film.get_config()
    outputs = copy(MAPS, GAMMA, BETA)
    assert outputs.dtype == "bfloat16"
    assert copy.gamma_scale.dtype == "float32"


def test_leading_axes_broadcast():
    """Maps of 4 images with factors of 3 x 4 pairs."""
    gamma, beta = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    outputs = FiLM()(MAPS[None], gamma, beta)
    assert outputs.shape == (3, 4, 3, 2, 5)
    for pair in range(3):
        expected = FiLM()(MAPS, gamma[pair], beta[pair])
        np.testing.assert_allclose(outputs[pair], expected, rtol=1e-6)


def test_in_a_functional_model():
    maps, values = keras.Input((3, 2, 5)), keras.Input((5,))
    model = keras.Model([maps, values], FiLM()(maps, values, values))
    assert model.output_shape == (None, 3, 2, 5)
    expected = per_image(GAMMA) * MAPS + per_image(GAMMA)
    np.testing.assert_allclose(model([MAPS, GAMMA]), expected, rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="nothing for scale_regularizer"):
        FiLM(scale_regularizer="l1")
    for gamma, beta in ((GAMMA[:, :4], BETA), (GAMMA, per_image(BETA)[None])):
        with pytest.raises(ValueError, match=r"must have shape \[C\], \[1, C\] or \[n, C\]"):
            FiLM()(MAPS, gamma, beta)
