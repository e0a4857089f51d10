"""Images to be completed: which come when, and what is given of them."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.completion import places_of
from data_pipelines.dataset import FewShotDataset
from data_pipelines.pipeline import episode_at, episodes
from data_pipelines.samplers import pixel_episode

SHAPE = (4, 6, 3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("store") / "images")
    rng = np.random.default_rng(0)
    classes = [
        StoredClass(name, "all", count) for name, count in zip("abcd", (3, 2, 4, 1), strict=True)
    ]
    images = [
        (i, rng.integers(0, 256, SHAPE, "uint8"))
        for i, c in enumerate(classes)
        for _ in range(c.count)
    ]
    write_class_store(path, classes, images, image_shape=SHAPE)
    # Classes of a split do not lie side by side.
    return FewShotDataset("images", ClassStore.open(path), {"train": [0, 2, 3], "test": [1]})


def rows(dataset, split, indices, seed=0, **arguments):
    found = dataset.split(split)
    return [int(pixel_episode(found, seed, i, **arguments)["image_indices"][0]) for i in indices]


def test_each_image_comes_once_before_any_comes_again(dataset):
    images = [0, 1, 2, 5, 6, 7, 8, 9]
    first, second = rows(dataset, "train", range(8)), rows(dataset, "train", range(8, 16))
    assert sorted(first) == sorted(second) == images
    assert first != second
    assert rows(dataset, "train", range(8), seed=1) != first
    assert sorted(rows(dataset, "test", range(2))) == [3, 4]


def test_an_episode_is_a_function_of_its_number(dataset):
    split = dataset.split("train")
    eager = pixel_episode(split, 3, 11, points=5)
    traced = tf.function(lambda index: pixel_episode(split, 3, index, points=5))(
        tf.constant(11, tf.int64)
    )
    for name, value in eager.items():
        np.testing.assert_array_equal(value, traced[name])


def test_random_points_are_different_pixels(dataset):
    split = dataset.split("train")
    draws = [pixel_episode(split, 0, i, points=10)["support_points"].numpy() for i in range(50)]
    assert all(len(set(draw.tolist())) == 10 for draw in draws)
    assert set(np.concatenate(draws).tolist()) == set(range(24))
    assert len({tuple(draw.tolist()) for draw in draws}) == 50


def test_ordered_points_are_row_0_first(dataset):
    """Invariant 12 of the sheet: of an image 6 wide, 10 points are row 0 and four of row 1."""
    draw = pixel_episode(dataset.split("train"), 0, 0, points=10, ordered=True)
    assert draw["support_points"].numpy().tolist() == list(range(10))
    episode, _ = episode_at(dataset, "train", partial(points=10, ordered=True), 0, 0)
    np.testing.assert_allclose(
        episode["support_inputs"][0, :7],
        [[0, column / 6] for column in range(6)] + [[0.25, 0]],
        atol=1e-7,
    )


def partial(**arguments):
    return lambda split, seed, index: pixel_episode(split, seed, index, **arguments)


def test_episodes_have_the_colours_of_the_pixels(dataset):
    stream = episodes(dataset, "train", partial(points=5), seed=2, count=2, meta_batch=3)
    drawn = [rows(dataset, "train", [i], seed=2)[0] for i in range(6)]
    number = 0
    for episode, targets in stream:
        assert episode["support_inputs"].shape == (3, 5, 2)
        assert targets.shape == (3, 24, 3)
        for b in range(3):
            pixels = dataset.store.images[drawn[number]].reshape(24, 3) / np.float32(255)
            np.testing.assert_allclose(targets[b], pixels, atol=1e-7)
            np.testing.assert_array_equal(episode["query_inputs"][b], places_of(4, 6))
            at = np.round(episode["support_inputs"][b].numpy() * [4, 6]).astype(int)
            np.testing.assert_allclose(
                episode["support_targets"][b], pixels[at[:, 0] * 6 + at[:, 1]], atol=1e-7
            )
            number += 1
    assert number == 6


def test_a_word_is_no_flag(dataset):
    """Any word would count as yes, `"no"` too."""
    with pytest.raises(ValueError, match="ordered must be True or False; received 'no'"):
        pixel_episode(dataset.split("train"), 0, 0, points=5, ordered="no")


def test_too_many_points_are_refused(dataset):
    with pytest.raises(ValueError, match=r"points=25.*4 x 6 = 24 pixels"):
        pixel_episode(dataset.split("train"), 0, 0, points=25)
