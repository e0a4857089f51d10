"""What gin files can name: a new learner, backbone or function goes into one of these tuples."""

import keras

from data_pipelines import datasets, hierarchical_sampling, multishot_sampling, sampling
from data_pipelines.class_counts import count_classes
from kfsl import evaluation, runtime, training
from kfsl.analysis.attention import attention_figure
from kfsl.analysis.cross_modulation_figure import cross_modulation_figure
from kfsl.analysis.episode_figure import episode_figure
from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.mlp import MLP
from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12
from kfsl.backbones.resnet12 import ResNet12
from kfsl.backbones.wide_resnet import WideResNet
from kfsl.experiment import Experiment
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.random_affine import RandomAffine
from kfsl.learners.cavia import CAVIA
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.learners.cross_modulation_prototypical_network import (
    CrossModulationPrototypicalNetwork,
)
from kfsl.learners.maml import MAML
from kfsl.learners.matching_network import MatchingNetwork
from kfsl.learners.meta_sgd import MetaSGD
from kfsl.learners.modgrad import ModGrad
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.learners.reptile import Reptile
from kfsl.learners.stanet import STANet

LEARNERS = (
    CAVIA,
    CrossModulationNetwork,
    CrossModulationPrototypicalNetwork,
    MAML,
    MatchingNetwork,
    MetaSGD,
    ModGrad,
    PrototypicalNetwork,
    Reptile,
    STANet,
)
BACKBONES = (Conv4, MLP, PreActivationResNet12, ResNet12, WideResNet)
FIGURES = (attention_figure, cross_modulation_figure, episode_figure)
SAMPLERS = (
    sampling.fixed_episode,
    sampling.epoch_episode,
    hierarchical_sampling.variable_episode,
    hierarchical_sampling.hierarchical_episode,
    multishot_sampling.alphabet_episode,
)
KERAS = (
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.SGD,
    keras.optimizers.schedules.CosineDecay,
    keras.optimizers.schedules.ExponentialDecay,
    keras.optimizers.schedules.PiecewiseConstantDecay,
    keras.optimizers.schedules.PolynomialDecay,
)

OTHERS = (
    Experiment,
    PixelNormalization,
    RandomAffine,
    count_classes,
    datasets.load_dataset,
    runtime.set_up,
)

#: What each command runs; the bindings of another command's functions may lie unused.
COMMANDS = {"train": training.train, "evaluate": evaluation.evaluate}
