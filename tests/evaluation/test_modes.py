"""Evaluation of a mixture: accuracy by mode, micro and macro, paired by mode."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from data_pipelines.samplers import fixed_episode, mixture_episode
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import half_interval
from kfsl.runs.paired_difference import DifferencesByMode, paired_by_mode
from tests.support import letters


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two modes: classes that are plain to tell, and noise that nothing tells apart."""
    path = str(tmp_path_factory.mktemp("stores") / "mixed")
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (6, *letters.SHAPE), dtype="uint8")
    images = [
        (c, patterns[c] if c < 3 else random.integers(0, 256, letters.SHAPE, dtype="uint8"))
        for c in range(6)
        for _ in range(6)
    ]
    modes = {
        "modes": ["plain", "noise"],
        "mode_rotations": [1, 1],
        "class_modes": [0] * 3 + [1] * 3,
    }
    write_class_store(
        path, [StoredClass(name, "all", 6) for name in "abcdef"], images, letters.SHAPE, modes
    )
    return FewShotDataset("mixed", ClassStore.open(path), {"test": range(6)})


@pytest.fixture(scope="module")
def found(mixed):
    sampler = functools.partial(mixture_episode, ways=3, shots=1, queries=4)
    experiment = Experiment(letters.prototypical_network(), mixed, sampler)
    return evaluate(experiment, episodes=30, meta_batch=4)


def test_accuracy_is_told_by_mode(found):
    assert found.mode_names == ["plain", "noise"]
    assert sorted(map(len, found.by_mode.values())) == [15, 15]
    assert set(found.by_mode["plain"]) == {1.0}
    assert np.mean(found.by_mode["noise"]) < 0.6
    own = [a for a, mode in zip(found.values, found.modes, strict=True) if mode == 1]
    assert found.by_mode["noise"] == own


def test_modes_that_occur_seldom_count_as_much_in_the_mean_over_modes(found):
    accuracies, modes = [1.0, 1.0, 1.0, 0.5, 0.1], [0, 0, 0, 1, 1]
    few = dataclasses.replace(found, values=accuracies, modes=modes)
    mean, half = few.macro
    assert few.mean == pytest.approx(0.72)
    assert mean == pytest.approx((1.0 + 0.3) / 2)
    assert half == pytest.approx(half_interval([0.5, 0.1]) / 2)
    assert few.mode_lines() == [
        "  plain: 3 episodes: 100.00 ± 0.00 %",
        "  noise: 2 episodes: 30.00 ± 39.20 %",
        "  mean over 2 modes: 65.00 ± 19.60 %",
    ]


def test_it_is_written_and_read(found, tmp_path):
    path = str(tmp_path / "test.json")
    found.save(path)
    assert Evaluation.load(path) == found
    written = json.loads(Path(path).read_text("utf-8"))["accuracy_macro"]
    assert (written["mean"], written["interval"]) == found.macro


def test_learners_are_paired_by_mode(found):
    worse = [a - 0.1 * (m == 1) for a, m in zip(found.values, found.modes, strict=True)]
    other = dataclasses.replace(found, values=worse)
    apart = paired_by_mode(found, other)
    assert apart.modes["plain"].mean == 0.0
    assert apart.modes["noise"].mean == pytest.approx(0.1)
    assert apart.modes["noise"].episodes == 15


def test_differences_are_paired_over_modes_too(found):
    """Three episodes of one mode and two of another: the modes count alike."""
    first = dataclasses.replace(found, values=[0.9, 0.8, 0.7, 0.5, 0.1], modes=[0, 0, 0, 1, 1])
    second = dataclasses.replace(first, values=[0.9, 0.8, 0.6, 0.2, 0.2])
    apart = paired_by_mode(first, second)
    assert apart.macro.mean == pytest.approx((0.1 / 3 + 0.1) / 2)
    halves = half_interval([0.0, 0.0, 0.1]), half_interval([0.3, -0.1])
    assert apart.macro.interval == pytest.approx((halves[0] ** 2 + halves[1] ** 2) ** 0.5 / 2)
    assert apart.lines()[-1].startswith("  mean over 2 modes: difference on the same 5 episodes: ")
    assert apart.to_json()["macro"]["mean"] == apart.macro.mean


def test_one_dataset_has_no_modes(store):
    sampler = functools.partial(fixed_episode, ways=3, shots=1, queries=4)
    plain = evaluate(letters.experiment(store, sampler), episodes=4)
    assert (plain.modes, plain.mode_names, plain.by_mode, plain.mode_lines()) == ([], [], {}, [])
    assert paired_by_mode(plain, plain) == DifferencesByMode()
    assert paired_by_mode(plain, plain).lines() == []
