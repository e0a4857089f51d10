"""Completed images and functions as pictures: what stands where."""

import keras
import numpy as np
import pytest

from data_pipelines.completion import places_of
from kfsl.backbones.mlp import MLP
from kfsl.figures.any_episode import any_episode_figure
from kfsl.figures.completion import completions_figure, image_size
from kfsl.figures.function import function_figure
from kfsl.learners import MAML
from kfsl.objectives import Regression
from kfsl.objectives.regression_spec import RegressionSpec


def images(count=2, size=(3, 4), channels=3, given=5):
    rng = np.random.default_rng(0)
    places = np.repeat(places_of(*size)[None], count, axis=0)
    colours = rng.uniform(size=(count, size[0] * size[1], channels))
    order = rng.permutation(size[0] * size[1])[:given]
    episode = {
        "support_inputs": places[:, order],
        "support_targets": colours[:, order],
        "query_inputs": places,
    }
    return episode, colours, order


def shown(axes):
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("channels", [1, 3])
def test_each_row_has_given_pixels_completions_and_truth(channels):
    episode, colours, order = images(channels=channels)
    guess = np.clip(colours + 0.25, 0, 2)
    figure = completions_figure({"a": guess, "b": colours}, episode, colours)
    assert len(figure.axes) == 2 * 4
    assert [axes.get_title() for axes in figure.axes[:4]] == ["5 given", "a", "b", "truth"]
    for row in range(2):
        given, first, second, truth = figure.axes[4 * row : 4 * row + 4]
        expected = colours[row].reshape(3, 4, channels)
        np.testing.assert_allclose(shown(truth), expected if channels == 3 else expected[..., 0])
        np.testing.assert_allclose(
            shown(first).reshape(12, -1), np.clip(guess[row], 0, 1).reshape(12, -1)
        )
        pixels = shown(given).reshape(12, channels)
        np.testing.assert_allclose(pixels[order], colours[row][order])
        others = np.setdiff1d(np.arange(12), order)
        assert np.all(pixels[others] == 0.5)
        error = np.mean((guess[row] - colours[row]) ** 2)
        assert first.get_xlabel() == f"{error:.4f}"
        assert second.get_xlabel() == "0.0000"


def test_places_that_are_no_image_are_refused():
    assert image_size(places_of(5, 7)) == (5, 7)
    with pytest.raises(ValueError, match="These 34 places are not the pixels of an image"):
        image_size(places_of(5, 7)[:-1])
    with pytest.raises(ValueError, match="are not the pixels of an image"):
        image_size(places_of(5, 7)[:, :1])


def test_a_function_is_drawn_with_and_without_steps():
    keras.utils.set_random_seed(0)
    learner = MAML(MLP((1,), hidden=(8,)), objective=Regression(1), steps=2, inner_rate=0.1)
    spec = RegressionSpec(points=4, queries=9, input_shape=(1,))
    episode, targets = spec.random_episode(meta_batch=2)
    (axes,) = function_figure(learner, episode, targets).axes
    lines = {line.get_label(): np.asarray(line.get_data()) for line in axes.lines}
    assert list(lines) == ["asked", "MAML, no step", "MAML, 2 steps", "given"]
    np.testing.assert_allclose(lines["given"][1], episode["support_targets"][0, :, 0])
    first = {key: value[:1] for key, value in episode.items()}
    for steps, label in ((0, "MAML, no step"), (2, "MAML, 2 steps")):
        places = lines[label][0].astype("float32")
        first["query_inputs"] = places[None, :, None]
        answers = np.asarray(learner(first, steps=steps)["predictions"])[0, :, 0]
        np.testing.assert_allclose(lines[label][1], answers, atol=1e-6)
    assert "4 points given, mean squared error" in axes.get_title()


def test_the_picture_fits_the_episode():
    episode, colours, _ = images()
    assert len(any_episode_figure(None, episode, colours, ()).axes) == 2 * 2
    spec = RegressionSpec(points=4, queries=9, input_shape=(3,))
    with pytest.raises(ValueError, match="are not the pixels of an image"):
        any_episode_figure(None, *spec.random_episode(), ())
    with pytest.raises(ValueError, match="functions of one number; these have 3"):
        function_figure(None, *spec.random_episode())
