"""Sinusoids: their ranges, their formula, and that splits have streams of their own."""

import math

import numpy as np
import pytest

from data_pipelines.function_dataset import FunctionDataset
from data_pipelines.load_dataset import load_dataset
from data_pipelines.pipeline import episode_at, episodes
from data_pipelines.samplers import fixed_episode, pixel_episode, sinusoid_episode


def drawn(split="train", seed=0, count=200, **arguments):
    found = FunctionDataset("sinusoids").split(split)
    return [sinusoid_episode(found, seed, i, **arguments) for i in range(count)]


def test_points_lie_on_one_sinusoid_of_the_ranges():
    """Fitted by least squares on sin x and cos x: amplitude and phase come back."""
    amplitudes, phases = [], []
    for task in drawn(points=10, queries=5):
        x = np.concatenate([task["support_inputs"], task["query_inputs"]])[:, 0]
        y = np.concatenate([task["support_targets"], task["query_targets"]])[:, 0]
        design = np.stack([np.sin(x), np.cos(x)], axis=1)
        (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
        np.testing.assert_allclose(design @ [a, b], y, atol=1e-4)
        assert x.min() >= -5
        assert x.max() <= 5
        amplitudes.append(math.hypot(a, b))
        phases.append(math.atan2(-b, a))
    assert 0.1 <= min(amplitudes) < 0.3
    assert 4.8 < max(amplitudes) <= 5.0001
    assert -1e-3 <= min(phases) < 0.1
    assert 3.0 < max(phases) <= math.pi + 1e-3


def test_splits_and_seeds_have_streams_of_their_own():
    first = [float(task["support_inputs"][0, 0]) for task in drawn(count=20)]
    assert first == [float(task["support_inputs"][0, 0]) for task in drawn(count=20)]
    for other in (drawn("val", count=20), drawn(seed=1, count=20)):
        assert not set(first) & {float(task["support_inputs"][0, 0]) for task in other}


def test_the_pipeline_streams_what_the_sampler_draws():
    dataset = load_dataset("sinusoids")
    ((episode, targets),) = episodes(dataset, "val", sinusoid_episode, count=1, meta_batch=3)
    assert set(episode) == {"support_inputs", "support_targets", "query_inputs"}
    assert targets.shape == (3, 10, 1)
    one, of_one = episode_at(dataset, "val", sinusoid_episode, 0, 2)
    np.testing.assert_array_equal(of_one[0], targets[2])
    np.testing.assert_array_equal(one["query_inputs"][0], episode["query_inputs"][2])


def test_a_name_nearby_is_told_of_what_needs_no_preparation(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without preparation: sinusoids\.$"):
        load_dataset("sinusoid", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drawn(count=1, points=0), "points must be a whole number"),
        (
            lambda: drawn(count=1, phases=(2.0, 1.0)),
            r"phases must be a pair.*received \(2.0, 1.0\)",
        ),
        (lambda: drawn(count=1, amplitudes=("a", "b")), r"amplitudes must be a pair of numbers"),
        (lambda: drawn(count=1, inputs=5.0), r"inputs must be a pair of numbers.*received 5\.0"),
        (lambda: drawn(count=1, phases=(0.0, math.inf)), "phases must be a pair of numbers"),
        (lambda: load_dataset("sinusoids", split="x"), "split='x' has no meaning for sinusoids"),
        (lambda: load_dataset("sinusoids", held_out=3), "held_out=3 has no meaning"),
        (lambda: load_dataset("sinusoids", split_seed=3), "split_seed=3 has no meaning"),
        (lambda: load_dataset("sinusoids").split("base_test"), "has no split 'base_test'"),
        (lambda: FunctionDataset("squares"), "Unknown functions 'squares'; known are sinusoids"),
        (lambda: episode_at(load_dataset("sinusoids"), "val", fixed_episode, 0, 0), "ways asked"),
        (
            lambda: episode_at(load_dataset("sinusoids"), "val", pixel_episode, 0, 0),
            "pixel_episode completes images, and split 'val' has none",
        ),
    ],
    ids=[
        "no points",
        "ranges",
        "words",
        "a number",
        "no end",
        "lists",
        "held out",
        "split seed",
        "split",
        "name",
        "sampler",
        "pixels",
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
