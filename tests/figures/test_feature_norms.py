"""The picture of how loudly a network answers where."""

import numpy as np
import pytest

from kfsl.figures.feature_norms import feature_norms_figure


def test_the_norm_is_laid_over_the_whole_image():
    features = np.zeros((2, 3, 2))
    features[0, 1] = 3, 4
    figure = feature_norms_figure(np.zeros((20, 30, 1), "uint8"), features)
    over = figure.axes[1].images[1]
    assert over.get_array().tolist() == [[0, 5, 0], [0, 0, 0]]
    assert over.get_extent() == [-0.5, 29.5, 19.5, -0.5]
    assert over.get_clim() == (0, 5)


def test_maps_of_nothing_are_dark():
    figure = feature_norms_figure(np.zeros((4, 4, 3), "uint8"), np.zeros((2, 2, 5)))
    assert figure.axes[1].images[1].get_clim() == (0, 1)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"\[h, w, channels\]; received the shape \(64,\)"):
        feature_norms_figure(np.zeros((4, 4, 3), "uint8"), np.zeros(64))
