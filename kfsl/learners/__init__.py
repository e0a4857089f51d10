"""Few-shot learners, one method a file."""

from kfsl.learners.cavia import CAVIA
from kfsl.learners.conditional_neural_process import ConditionalNeuralProcess
from kfsl.learners.cross_modulation_network import CrossModulationNetwork
from kfsl.learners.cross_modulation_prototypical_network import CrossModulationPrototypicalNetwork
from kfsl.learners.dense_classification import DenseClassification
from kfsl.learners.implanting import Implanting
from kfsl.learners.logistic_regression import LogisticRegression
from kfsl.learners.maml import MAML
from kfsl.learners.matching_network import MatchingNetwork
from kfsl.learners.meta_sgd import MetaSGD
from kfsl.learners.modgrad import ModGrad
from kfsl.learners.modulated_prototypical_network import ModulatedPrototypicalNetwork
from kfsl.learners.multimodal_maml import MultimodalMAML
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.learners.reptile import Reptile
from kfsl.learners.simple_shot import SimpleShot
from kfsl.learners.stanet import STANet

__all__ = [
    "CAVIA",
    "MAML",
    "ConditionalNeuralProcess",
    "CrossModulationNetwork",
    "CrossModulationPrototypicalNetwork",
    "DenseClassification",
    "Implanting",
    "LogisticRegression",
    "MatchingNetwork",
    "MetaSGD",
    "ModGrad",
    "ModulatedPrototypicalNetwork",
    "MultimodalMAML",
    "PrototypicalNetwork",
    "Reptile",
    "STANet",
    "SimpleShot",
]
