"""Samplers that know no modes: what they draw of a mixture, and what they are refused."""

import functools

import numpy as np
import pytest

from data_pipelines.load_dataset import load_dataset
from data_pipelines.pipeline import episode_at, episodes
from data_pipelines.samplers import (
    alphabet_episode,
    base_batch,
    epoch_episode,
    fixed_episode,
    hierarchical_episode,
    mixture_episode,
    open_set_episode,
    pixel_episode,
    variable_episode,
)
from tests.data_pipelines.test_mixture import prepare, write_part

WAYS = {"ways": 2, "shots": 1}
WITHOUT_MODES = {
    "fixed_episode": functools.partial(fixed_episode, **WAYS, queries=1),
    "epoch_episode": functools.partial(epoch_episode, **WAYS, queries=1),
    "variable_episode": functools.partial(
        variable_episode, min_ways=2, max_ways=2, min_shots=1, max_shots=1, total_queries=2
    ),
    # Of one superclass, so of one mode too; but they do not say which.
    "hierarchical_episode": functools.partial(hierarchical_episode, **WAYS, queries=1),
    "alphabet_episode": functools.partial(alphabet_episode, **WAYS, queries=1),
    "open_set_episode": functools.partial(
        open_set_episode, known=functools.partial(fixed_episode, **WAYS, queries=1)
    ),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    write_part(folder, "photos", (8, 8, 1))
    write_part(folder, "turned", (8, 8, 1), 4, seed=1)
    prepare(folder, "photos,turned", size=8)
    return load_dataset("mixed", data_dir=folder)


@pytest.mark.parametrize("name", WITHOUT_MODES)
def test_samplers_that_know_no_modes_are_refused_a_mixture(mixed, name):
    message = (
        rf"the function {name} draws episodes without a mode, and split 'train' is of a mixture of "
        r"photos, turned, .*Use mixture_episode"
    )
    with pytest.raises(ValueError, match=message):
        episode_at(mixed, "train", WITHOUT_MODES[name], 0, 0)
    with pytest.raises(ValueError, match=message):
        episodes(mixed, "train", WITHOUT_MODES[name])


def test_what_says_its_mode_is_drawn(mixed):
    known = functools.partial(mixture_episode, **WAYS, queries=1)
    sampler = functools.partial(open_set_episode, known=known, unknown_ways=1, unknown_queries=1)
    for each in (known, sampler, lambda split, seed, index: known(split, seed, index)):
        episode, _ = episode_at(mixed, "train", each, 0, 0)
        assert episode["mode"].shape == (1,)


def test_batches_of_base_classes_are_of_all_modes(mixed):
    total = mixed.split("train").num_images
    batch, labels = episode_at(
        mixed, "train", functools.partial(base_batch, batch_size=total), 0, 0
    )
    assert "support_images" not in batch
    assert np.unique(labels).tolist() == list(range(mixed.split("train").num_classes))


def test_batches_of_upright_images_have_no_others(mixed):
    train = mixed.split("train")
    upright = [
        i for i, name in enumerate(train.class_names) if "/rot" not in name or name.endswith("rot0")
    ]
    total = int(train.counts[upright].sum())
    sampler = functools.partial(base_batch, batch_size=total, rotations="none")
    _, labels = episode_at(mixed, "train", sampler, 0, 0)
    assert np.unique(labels).tolist() == upright
    assert 0 < len(upright) < train.num_classes


def test_single_images_are_completed_in_any_mode(mixed):
    episode, colours = episode_at(mixed, "train", functools.partial(pixel_episode, points=3), 0, 0)
    assert episode["support_inputs"].shape == (1, 3, 2)
    assert colours.shape == (1, 64, 3)


def test_one_dataset_needs_no_mode(mixed):
    photos = load_dataset("photos", data_dir=mixed.store.path.parent)
    for sampler in WITHOUT_MODES.values():
        if sampler is not WITHOUT_MODES["alphabet_episode"]:
            episode_at(photos, "train", sampler, 0, 0)
