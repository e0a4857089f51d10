"""The attention figure."""

import warnings

import keras
import numpy as np
import pytest
from matplotlib.colors import to_hex

from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.figures.attention import attention_figure
from kfsl.figures.images import OTHER, RIGHT, WRONG
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.learners.stanet import STANet
from kfsl.training.callbacks.figure_summary import figure_to_rgb
from tests.support.contract import generic, with_padding

NAMES = ["Greek/alpha", "Greek/beta", "Latin/a", "Latin/b", "Arabic/$jeem", "Thai/ko"]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def make(ways=3, channels=1, **arguments):
    backbone = Conv4(image_shape=(None, None, channels), filters=8, num_pools=2)
    return generic(STANet(backbone, ways, num_layers=2, **arguments))


def episode_of(ways=3, shots=1, channels=1, seed=0):
    return EpisodeSpec(ways, shots, 2, (16, 12, channels)).random_episode(seed, meta_batch=2)


def axes_grid(figure, rows=3):
    return np.array(figure.axes, dtype=object).reshape(rows, -1)


def test_names_scores_and_task_attention_are_the_learners():
    learner = make()
    episode, labels = episode_of()
    grid = axes_grid(attention_figure(learner, episode, labels, NAMES, query=3))
    outputs = learner(episode)
    scores = keras.ops.softmax(outputs["logits"])[0, 3].numpy()
    ids = episode["support_classes"][0]
    titles = [axes.get_title() for axes in grid[0]]
    expected = [f"{NAMES[i]}\n{score:.2f}" for i, score in zip(ids, scores, strict=True)]
    assert titles == [f"query\n{NAMES[ids[labels[0, 3]]]}", *expected]
    for layer, row in enumerate(grid[1:]):
        attention = outputs["task_attention"][0, layer, 3].numpy()
        assert [a.get_xlabel() for a in row] == ["", *(f"$a_t$ = {v:.2f}" for v in attention)]
        maps = outputs["spatial_attention_support"][0, layer, 3].numpy()
        drawn = [axes.images[1].get_array() for axes in row]
        np.testing.assert_allclose(drawn[1:], maps, rtol=1e-4)
        on_query = outputs["spatial_attention_query"][0, layer, 3]
        np.testing.assert_allclose(drawn[0], on_query, rtol=1e-4)
        # One scale a row, and the maps cover their 16 x 12 images.
        assert {axes.images[1].get_clim() for axes in row} == {(0.0, np.max(drawn))}
        assert {tuple(axes.images[1].get_extent()) for axes in row} == {(-0.5, 11.5, 15.5, -0.5)}


def test_the_true_class_is_framed_in_green():
    episode, labels = episode_of(shots=2)
    figure = attention_figure(make(), episode, labels, query=2)
    truth = labels[0, 2]
    expected = [RIGHT] + [RIGHT if x == truth else OTHER for x in episode["support_labels"][0]]
    for row in axes_grid(figure):
        assert [to_hex(axes.spines["left"].get_edgecolor()) for axes in row] == expected
    unknown = axes_grid(attention_figure(make(), episode))
    assert {to_hex(axes.spines["left"].get_edgecolor()) for axes in unknown.flat} == {OTHER}


@pytest.mark.parametrize("right", [True, False])
def test_the_predicted_class_is_bold_and_coloured(right):
    learner = make()
    episode, labels = episode_of()
    predicted = int(np.argmax(learner(episode)["logits"][0, 0]))
    labels[0, 0] = predicted if right else (predicted + 1) % 3
    titles = [axes.title for axes in axes_grid(attention_figure(learner, episode, labels))[0, 1:]]
    assert [t.get_fontweight() == "bold" for t in titles] == [i == predicted for i in range(3)]
    assert titles[predicted].get_color() == (RIGHT if right else WRONG)


def test_many_supports_show_those_with_most_attention():
    learner = make()
    episode, labels = episode_of(shots=6)
    grid = axes_grid(attention_figure(learner, episode, labels, columns=7))
    weights = learner(episode)["task_attention"][0, :, 0].numpy().mean(0)
    expected = np.concatenate(
        [np.sort(np.argsort(-weights[i : i + 6])[:2]) + i for i in (0, 6, 12)]
    )
    shown = np.stack([axes.images[0].get_array() for axes in grid[0, 1:]])
    np.testing.assert_array_equal(shown, episode["support_images"][0, expected, ..., 0])
    assert grid[-1, 0].get_xlabel() == "6 of 18 supports"


def test_padding_is_not_drawn():
    learner = make()
    episode, labels = episode_of()
    padded = with_padding(episode, rows=4)
    figures = [attention_figure(learner, e, labels, NAMES) for e in (episode, padded)]
    assert len(figures[0].axes) == len(figures[1].axes) == 3 * 4
    titles = [[axes.get_title() for axes in figure.axes] for figure in figures]
    assert titles[0] == titles[1]


def test_pixels_are_the_picture_without_a_warning():
    episode, labels = episode_of(channels=3)
    figure = attention_figure(make(channels=3), episode, labels, ["名前"] * 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = figure_to_rgb(figure)
    assert pixels.dtype == np.uint8
    width, height = (figure.get_size_inches() * figure.dpi).astype(int)
    assert pixels.shape == (height, width, 3)
    # The frames' green and the maps' colours are really there.
    green = np.array([int(RIGHT[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.sum(np.all(pixels == green, axis=-1)) > 500


def test_without_class_ids_names_are_by_label():
    episode, labels = episode_of()
    del episode["support_classes"]
    grid = axes_grid(attention_figure(make(), episode, labels, ["x", "y", "z"]))
    assert [axes.get_title().split("\n")[0] for axes in grid[0, 1:]] == ["x", "y", "z"]


def test_errors_name_what_is_wrong():
    episode, labels = episode_of()
    with pytest.raises(ValueError, match="queries 0 to 5; received query=6"):
        attention_figure(make(), episode, labels, query=6)
    with pytest.raises(ValueError, match="names of 1 classes"):
        attention_figure(make(), episode, labels, ["a"])
    learner = PrototypicalNetwork(Conv4(image_shape=(16, 12, 1), filters=4, num_pools=2))
    with pytest.raises(ValueError, match="PrototypicalNetwork has no attention"):
        attention_figure(learner, episode, labels)
