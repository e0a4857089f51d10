"""What the weights of cross-modulation say: numbers, tables and figures."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.figures.cross_modulation import cross_modulation_figure, norms_figure, scales_figure
from kfsl.figures.cross_modulation_weights import (
    block_kernels,
    norm_table,
    norm_values,
    scale_table,
    scale_values,
)
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import train as training
from tests.support import letters
from tests.support.cross_modulation_runs import letters_cross_modulation

BLOCKS = ("block2_bn", "block4_bn")


@pytest.fixture
def learner():
    return letters_cross_modulation()


def test_the_scales_quantiles_and_sparsity(learner):
    film = learner.modulations[1].film
    film.gamma_scale.assign([-2.0, 0.0006, -0.0006, 0.5])
    film.beta_scale.assign([0.002, 3.0, -0.5, -0.004])
    values = scale_values(learner)
    assert tuple(values["blocks"]) == BLOCKS
    gamma, beta = (values["blocks"]["block4_bn"][name] for name in ("gamma0", "beta0"))
    assert gamma["sparse"] == 0.5
    assert beta["sparse"] == 0.0
    assert gamma["mean"] == pytest.approx((2.0 + 0.0012 + 0.5) / 4)
    quantiles = dict(zip(values["quantiles"], gamma["quantiles"], strict=True))
    assert quantiles[0.0] == pytest.approx(0.0006)
    assert quantiles[0.5] == pytest.approx((0.0006 + 0.5) / 2)
    assert quantiles[1.0] == 2.0
    assert scale_table(values).splitlines()[3].split() == [
        *("block4_bn", "|gamma0|", "0.2503", "0.6253", "2.0000", "50.0", "%"),
    ]


def test_the_norms_are_of_the_columns_of_each_half(learner):
    generator = learner.modulations[0].generator
    kernel = np.zeros((8, 8), "float32")
    kernel[:2, 0] = 3.0, 4.0  # gamma of channel 0, from the own stream: norm 5.
    kernel[4:, 7] = 1.0  # beta of channel 3, from the other stream: norm 2.
    generator.kernel.assign(kernel)
    found = norm_values(learner)["blocks"]["block2_bn"]
    assert (found["self"], found["cross"], found["ratio"]) == (5 / 8, 2 / 8, 2 / 5)
    assert found["gamma"] == {"self": 5 / 4, "cross": 0.0, "ratio": 0.0}
    assert found["beta"] == {"self": 0.0, "cross": 2 / 4, "ratio": None}
    lines = norm_table({"blocks": {"block2_bn": found}}).splitlines()
    assert lines[1].split() == ["block2_bn", "all", "0.6250", "0.2500", "0.400"]
    assert lines[3].split() == ["block2_bn", "beta", "0.0000", "0.5000"]


def test_the_self_half_meets_the_stream_that_is_modulated(learner):
    """Without its self half a generator gives what the other stream alone decides."""
    modulation = learner.modulations[0]
    kernel = np.array(modulation.generator.kernel)
    kernel[:4] = 0.0
    modulation.generator.kernel.assign(kernel)
    assert not block_kernels(learner)["block2_bn"]["self"].any()
    np.testing.assert_array_equal(block_kernels(learner)["block2_bn"]["cross"], kernel[4:])
    rng = np.random.default_rng(0)
    x, y, other = (rng.normal(size=(1, 1, 1, 2, 2, 4)).astype("float32") for _ in range(3))
    for first, second in zip(
        modulation.parameters(x, other), modulation.parameters(y, other), strict=True
    ):
        np.testing.assert_array_equal(first, second)
    assert np.any(modulation.parameters(other, x)[0] != modulation.parameters(other, y)[0])


def test_the_figures_draw_the_numbers(learner):
    whole = cross_modulation_figure(learner, {}, None, ())
    scales, norms = whole.axes[:2]
    assert [axes.get_title() for axes in whole.axes[2:4]] == list(BLOCKS)
    for pane in (scales, norms, scales_figure(learner).axes[0]):
        assert [label.get_text() for label in pane.get_xticklabels()] == list(BLOCKS)
    heights = [bar.get_height() for bar in norms.patches]
    blocks = norm_values(learner)["blocks"]
    assert heights == [blocks[block][half] for half in ("self", "cross") for block in BLOCKS]
    for figure, first in ((whole, 2), (norms_figure(learner), 0)):
        for axes, halves in zip(figure.axes[first:], block_kernels(learner).values(), strict=False):
            (image,) = axes.images[:1]
            expected = np.concatenate([halves["self"], halves["cross"]])
            np.testing.assert_array_equal(image.get_array(), expected)
            assert axes.lines[0].get_ydata()[0] == 3.5  # Between the halves.


def test_other_learners_are_refused():
    message = r"PrototypicalNetwork has no cross-modulation to look at: use a run of a CrossMod"
    for function in (scale_values, norm_values, cross_modulation_figure):
        with pytest.raises(ValueError, match=message):
            function(letters.prototypical_network())


def test_tensorboard_shows_the_figure_and_readable_histograms(learner, tmp_path):
    store = str(tmp_path / "letters")
    letters.write_letters(store)
    run = RunDirectory(str(tmp_path / "run"))
    run.start("")
    training.train(
        letters.experiment(store, learner=learner), run, epochs=1, steps_per_epoch=2,
        validation_episodes=4, figures=(cross_modulation_figure,), histograms_every=1,
        optimizer=keras.optimizers.SGD(1e-3),
    ).fit()  # fmt: skip
    tags = {
        value.tag
        for path in tf.io.gfile.glob(f"{run.tensorboard}/*/events*")
        for event in tf.compat.v1.train.summary_iterator(path)
        for value in event.summary.value
    }
    assert "cross_modulation_figure" in tags
    histograms = {tag for tag in tags if re.search(r"block\d_bn_modulation/.*/histogram", tag)}
    assert {tag.partition("block")[2] for tag in histograms} == {
        f"{block}_bn_modulation/{weight}/histogram"
        for block in (2, 4)
        for weight in (
            *("film/gamma_scale", "film/beta_scale"),
            *("generator/kernel", "generator/bias"),
        )
    }
