"""What ModGrad's modulation does to gradients, as numbers and a figure."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import pipeline
from kfsl import configurables
from kfsl.analysis.gradient_learners import spectra
from kfsl.analysis.gradient_learners.modgrad_spectrum import as_matrix, modulated_gradients
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.learners.modgrad import ModGrad
from tests.support import gradient_runs, letters

KERNELS = 2  # Those of the two convolutions.


@configurables.register
def letters_modgrad() -> ModGrad:
    keras.utils.set_random_seed(0)
    images = keras.Input(letters.SHAPE)
    maps = keras.layers.Conv2D(6, 3, 2, activation="relu", name="conv1")(images)
    maps = keras.layers.Conv2D(5, 2, activation="relu", name="conv2")(maps)
    return ModGrad(keras.Model(images, maps), ways=3, context_size=7, inner_rate=50.0)


@pytest.fixture
def run(store, tmp_path):
    extra = "Experiment.learner = @letters_modgrad()\n"
    run = letters.trained_run(str(tmp_path / "modgrad"), store, extra=extra)
    letters_modgrad().save(run.best_learner)
    return run


def drawn(run):
    experiment = AnalysisRequest(run).experiment()
    episode, _ = pipeline.episode_at(
        experiment.dataset, "val", experiment.evaluation_sampler, seed=3, index=0
    )
    return experiment.learner, episode, tf.constant([3, 0], tf.int64)


@pytest.mark.parametrize("deviation", [0.0, 0.5])
def test_the_modulated_gradient_is_what_the_learner_moves_by(run, deviation):
    learner, episode, seed = drawn(run)
    learner.gradient_noise = deviation
    state, _ = learner.adapt_task(
        episode["support_images"][0], episode["support_labels"][0], seed=seed
    )
    start = learner.adapted_network.start({})
    found = modulated_gradients(learner, episode, seed, deviation)
    assert len(found) == KERNELS
    for key, matrices in found.items():
        moved = (start[key] - state[key]).numpy() / learner.inner_rate
        modulated = matrices["modulated"]
        np.testing.assert_allclose(as_matrix(moved, modulated.shape), modulated, atol=1e-7)
        product = matrices["factors"] * matrices["gradient"]
        np.testing.assert_allclose(product, modulated, rtol=1e-6)
        np.testing.assert_allclose(np.maximum(matrices["outer"], 0), matrices["factors"], rtol=1e-5)
        # Without this, the comparison above says nothing.
        assert np.abs(modulated).max() > 1e-5


def test_numbers_of_all_kernels_and_levels(run):
    options = {"split": "val", "levels": (0.0, 0.1), "episodes": 3}
    _, path = analyze("modgrad_spectrum", AnalysisRequest(run), **options)
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    assert (values["split"], values["episodes"]) == ("val", 3)
    kernels = values["runs"][run.path]
    assert [kernel["matrix"] for kernel in kernels.values()] == [[18, 3], [10, 12]]
    for kernel in kernels.values():
        assert kernel["largest_ranks"]["before_relu"] == 1
        assert kernel["largest_ranks"]["after_relu"] <= 2
        assert sum(kernel["factors"]["spectrum"][:2]) == pytest.approx(1.0)
        clean, noisy = kernel["levels"]
        assert (clean["standard_deviation"], noisy["standard_deviation"]) == (0.0, 0.1)
        for name in ("gradient", "modulated"):
            assert clean[name]["cosine"] == pytest.approx(1.0)
            assert clean[name]["snr"] is None
            assert noisy[name]["cosine"] < 1.0
            assert sum(noisy[name]["spectrum"]) == pytest.approx(1.0)
            assert noisy[name]["energy_above"][0] == pytest.approx(1.0)
    # Gradient and noise have n1 * n2 entries: what the ratio of their energies has to be.
    learner, episode, seed = drawn(run)
    key = list(kernels)[-1]
    clean, noisy = (modulated_gradients(learner, episode, seed, d)[key] for d in (0.0, 0.1))
    noise = noisy["gradient"] - clean["gradient"]
    assert np.std(noise) == pytest.approx(0.1, rel=0.25)
    measured = spectra.decibels(clean["gradient"], noise)
    wanted = np.sum(np.square(clean["gradient"])) / np.sum(np.square(noise))
    assert measured == pytest.approx(10 * np.log10(wanted))


def test_other_learners_are_refused(store, tmp_path):
    other = gradient_runs.maml_run(str(tmp_path / "maml"), store)
    with pytest.raises(ValueError, match="maml' has a MAML, which does not modulate"):
        analyze("modgrad_spectrum", AnalysisRequest(other))


def test_spectra_have_closed_forms():
    rng = np.random.default_rng(0)
    rank_one = np.outer(rng.normal(size=6), rng.normal(size=9))
    assert spectra.spectrum(rank_one)[0] == pytest.approx(1.0)
    assert spectra.effective_rank(rank_one) == pytest.approx(1.0)
    white = rng.normal(size=(64, 64))
    radii = (0.0, 0.25, 0.71)
    # White noise fills the square of frequencies evenly; a quarter radius leaves a disc out.
    outside = 1 - np.pi * 0.25**2
    assert spectra.energy_above(white, radii) == pytest.approx([1.0, outside, 0.0], abs=0.03)
    rows = np.cos(2 * np.pi * np.arange(64) / 8)[:, None] * np.ones((1, 64))
    assert spectra.energy_above(rows, (0.12, 0.13)) == pytest.approx([1.0, 0.0])
    zero = np.zeros((3, 4))
    assert spectra.spectrum(zero) == [0.0] * 3
    assert spectra.effective_rank(zero) == 0.0
    assert spectra.energy_above(zero, (0.0,)) == [0.0]
    assert spectra.cosine(zero, zero) == 0.0
    assert spectra.decibels(white[:3, :4], zero) is None
