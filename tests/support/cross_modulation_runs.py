"""Runs of Cross-Modulation Networks as training leaves them, but for the training."""

import keras
import numpy as np

from kfsl import configurables
from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.base.cross_modulation_learner import CrossModulationLearner
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.learners.cross_modulation_prototypical_network import (
    CrossModulationPrototypicalNetwork,
)
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

CLASSES = {"matching": CrossModulationNetwork, "prototypes": CrossModulationPrototypicalNetwork}
EXTRA = """
Experiment.learner = @letters_cross_modulation()
letters_cross_modulation.modulated = {}
"""


@configurables.register
def letters_cross_modulation(
    kind: str = "matching",
    modulated: tuple[str, ...] = ("block2_bn", "block4_bn"),
    bn_policy: str = "running",
) -> CrossModulationLearner:
    """A small network; the weights of its modulation are off their first values, as if trained."""
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2, bn_momentum=0.5)
    learner = CLASSES[kind](backbone, modulated=modulated, bn_policy=bn_policy, pairs_at_once=12)
    rng = np.random.default_rng(0)
    for modulation in learner.modulations:
        for variable in modulation.trainable_variables:
            variable.assign(variable + rng.normal(0.0, 0.3, variable.shape))
    for _ in range(6):  # Moving averages that fit the images.
        learner(letters_episode(), training=True)
    return learner


def letters_episode(shots: int = 1) -> dict:
    """A 3-way episode of noise."""
    spec = EpisodeSpec(ways=3, shots=shots, queries=4, image_shape=letters.SHAPE)
    return spec.random_episode()[0]


def cross_modulation_run(path: str, store: str, modulated: tuple[str, ...]) -> RunDirectory:
    """A run directory with such a learner."""
    run = letters.trained_run(path, store, extra=EXTRA.format(modulated))
    letters_cross_modulation(modulated=modulated).save(run.best_learner)
    return run
