"""The suite of learners that answer with numbers."""

from typing import ClassVar

import numpy as np

from kfsl.objectives.regression_spec import RegressionSpec
from tests.support.contract import Episode, LearnerContract, logits_of, served_names


class RegressionContract(LearnerContract):
    """What is asked of a learner whose objective is `Regression(2)`."""

    spec: ClassVar = RegressionSpec(points=6, queries=5, input_shape=(2,), width=2)
    least_loss = 0.01

    @property
    def columns(self) -> int:
        return self.spec.width

    def noise_episode(self) -> tuple[Episode, np.ndarray]:
        """Points of no function: nothing but memory tells what belongs to them."""
        episode, targets = self.spec.random_episode()
        rng = np.random.default_rng(0)
        episode["support_targets"] = rng.uniform(size=episode["support_targets"].shape)
        episode["support_targets"] = episode["support_targets"].astype("float32")
        return episode, rng.uniform(size=targets.shape).astype("float32")

    def test_permuting_classes_permutes_logits(self, learner, episode):
        """Of numbers: other targets lead to other answers."""
        key = served_names(learner)[1]
        changed = {**episode, key: 1.0 - episode[key]}
        gap = logits_of(learner, changed) - logits_of(learner, episode)
        assert np.max(np.abs(gap)) > 1e-3
