"""Entropy of attention against its formula."""

import numpy as np
import pytest

from kfsl.metrics.attention_entropy import AttentionEntropy


def entropy_of(attention, mask=None):
    metric = AttentionEntropy()
    metric.update_state(np.asarray(attention, "float32"), mask)
    return float(metric.result())


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        ([[[0.25, 0.25, 0.25, 0.25]]], 1.0),
        ([[[0.0, 1.0, 0.0, 0.0]]], 0.0),
        ([[[0.5, 0.5, 0.0, 0.0]]], 0.5),
        ([[[0.25] * 4, [0.5, 0.5, 0.0, 0.0]]], 0.75),
        ([[[1.0]]], 1.0),
    ],
)
def test_is_a_share_of_uniform_attention(attention, expected):
    assert entropy_of(attention) == pytest.approx(expected, abs=1e-6)


def test_locations_may_have_two_axes():
    assert entropy_of([[[[0.5, 0.0], [0.5, 0.0]]]]) == pytest.approx(0.5, abs=1e-6)


def test_padding_is_no_place():
    attention = [[[0.5, 0.5, 0.0, 0.0]], [[0.25, 0.25, 0.25, 0.25]]]
    mask = np.array([[True, True, False, False], [True] * 4])
    assert entropy_of(attention, mask) == pytest.approx(1.0, abs=1e-6)
