"""Features of a split, whose classes are drawn as those of the images are."""

import numpy as np
import tensorflow as tf

from data_pipelines.samplers import base_batch, fixed_episode
from kfsl.evaluation.split_features import SplitFeatures
from tests.support.sampling_cases import toy_split


def test_rotations_of_held_out_images_stand_side_by_side_here_too():
    part = toy_split([20] * 12, rotations=4, name="base_test").part(-5)
    features = SplitFeatures(part, tf.zeros([60, 3]))
    split = features.split("base_test")
    for index in range(5):
        sizes = {"ways": 3, "shots": 1, "queries": 2, "rotations": "episode"}
        found, expected = (fixed_episode(each, 0, index, **sizes) for each in (split, part))
        np.testing.assert_array_equal(found["query_class_ids"], expected["query_class_ids"])
        rows = found["query_indices"].numpy()
        np.testing.assert_array_equal(rows // 5, found["query_class_ids"])
    batch = base_batch(split, 0, 0, batch_size=15, rotations="none")
    assert set(batch["query_labels"].numpy()) == {0, 4, 8}
