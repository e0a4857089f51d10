"""Labels of a support set: which are taken, which are refused."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.objectives import Classification
from tests.support import letters


@pytest.mark.parametrize(
    ("ways", "labels", "message"),
    [
        (None, [[0, 1, 100_000_000]], "from 0 to 2, since there are 3 support images; received"),
        (None, [[-1, 0, 1]], "received labels from -1 to 1"),
        (3, [[0, 1, 3]], "from 0 to 2, since there are 3 ways; received labels from 0 to 3"),
    ],
)
def test_labels_out_of_range_are_refused(ways, labels, message):
    learner = letters.prototypical_network(ways=ways)
    images = np.zeros((1, 3, 8, 8, 1), "uint8")
    episode = {"support_images": images, "support_labels": np.array(labels), "query_images": images}
    with pytest.raises(ValueError, match=message):
        learner(episode)
    with pytest.raises(ValueError, match=message):
        learner({**episode, "support_labels": tf.constant(labels)})


def test_labels_of_another_kind_are_refused():
    for labels in (np.full((1, 3), 0.5), np.zeros(3, "int32"), np.zeros((1, 3, 2), "int32")):
        with pytest.raises(ValueError, match=r"Labels must be whole numbers.*int32 \[B, n\]"):
            Classification(2).check_targets(labels)
    Classification(2).check_targets(np.array([[0.0, 1.0]]))  # As Keras hands arrays over.


def test_absent_classes_cost_nothing_and_win_nothing():
    objective = Classification(3)
    state = objective.support_state(np.array([[0, 2]]))
    logits = np.array([[[1.0, 50.0, 1.0]]], "float32")
    loss = objective.loss(np.array([[2]]), logits, state=state)
    np.testing.assert_allclose(loss, np.log(2.0), rtol=1e-6)
    assert objective.prediction(objective.possible(logits, state)).numpy()[0, 0, 1] == 0.0
