"""The learners' contract for heads on a frozen network, which train nothing."""

import keras
import numpy as np

from tests.support.contract import LearnerContract, generic, logits_of


class FrozenLearnerContract(LearnerContract):
    """What is asked of learners without weights to train: all but what gradients do."""

    #: Nothing is trained, so padding has no gradient to change.
    test_padding_changes_no_gradient = None

    def test_every_weight_has_a_gradient(self, variant):
        learner = generic(self.make_learner(**variant))
        assert learner.weights
        assert learner.trainable_weights == []

    def test_overfits_one_episode(self, learner):
        """One image of noise a class is told apart when it is asked about again."""
        episode, _ = self.noise_episode()
        for key in ("support_images", "support_labels"):
            episode[key] = episode[key][:, :: self.spec.shots]
        episode["query_images"] = episode["support_images"]
        predictions = logits_of(learner, episode).argmax(-1)
        np.testing.assert_array_equal(predictions, episode["support_labels"])

    def test_meta_batch_equals_episodes_alone(self, learner):
        episodes, _ = self.spec.random_episode(seed=2, meta_batch=4)
        alone = [
            logits_of(learner, {key: value[i : i + 1] for key, value in episodes.items()})
            for i in range(4)
        ]
        self.assert_same(logits_of(learner, episodes), np.concatenate(alone))

    def test_mixed_precision(self, variant, policy):
        exact = generic(self.make_learner(**variant))
        episode, _ = self.spec.random_episode()
        keras.config.set_dtype_policy(policy)
        learner = self.make_learner(**variant)
        learner.set_weights(exact.get_weights())
        assert all(weight.dtype == "float32" for weight in learner.weights)
        logits, expected = logits_of(learner, episode), logits_of(exact, episode)
        assert logits.dtype == np.float32
        # Eight bits of mantissa, through two blocks and a difference.
        np.testing.assert_allclose(logits, expected, atol=0.06 * np.ptp(expected))
