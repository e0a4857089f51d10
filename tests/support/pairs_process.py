"""How much memory 5-way 5-shot predictions of a Cross-Modulation Network take; prints bytes.

python -m tests.support.pairs_process 125
"""

import sys

import keras
import tensorflow as tf

from benchmarks.peak_memory import peak_memory
from kfsl.backbones.conv4 import Conv4
from kfsl.episodes import EpisodeSpec
from kfsl.learners.cross_modulation_network import CrossModulationNetwork


def growth(pairs_at_once: int) -> int:
    """Bytes that the peak rises by for 1,875 pairs of 84x84 images."""
    keras.utils.set_random_seed(0)
    backbone = Conv4((84, 84, 3), filters=16)
    learner = CrossModulationNetwork(backbone, ways=5, pairs_at_once=pairs_at_once)
    predict = tf.function(lambda episode: learner(episode)["logits"])
    small, _ = EpisodeSpec(5, 5, 1, (84, 84, 3)).random_episode()
    predict(small)
    before = peak_memory()
    episode, _ = EpisodeSpec(5, 5, 15, (84, 84, 3)).random_episode()
    assert predict(episode).shape == (1, 75, 5)
    return peak_memory() - before


if __name__ == "__main__":
    print(growth(int(sys.argv[1])))
